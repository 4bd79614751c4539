import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { LibraryError } from '#base/errors.ts'
import { Resources } from '#base/resources.ts'

/** 32 MiB and about 150 ms a guess (RFC 7914; the OWASP password cheat sheet's second choice after argon2id). */
const COST = 2 ** 15
const BLOCK_SIZE = 8
const PARALLELIZATION = 3
const MEMORY_MAX = 64 * 1024 * 1024
const HASH_LENGTH = 32
const SALT_LENGTH = 16

/** They run on Node's four threads, which the file system needs as well. */
const slots = new Resources([1, 2])
/** Under way or waiting. So nobody waits longer than for eight others, about two seconds, whatever strangers send. */
const DERIVING_MAX = 18
let deriving = 0

/** Says whether another password is refused for now. */
export const isBusy = (): boolean => deriving >= DERIVING_MAX

/**
 * @returns `scrypt$cost$block size$parallelization$salt$hash`, the last two in base64
 * @throws unavailable where too many are being worked on
 */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_LENGTH)
  const hash = await derive(password, salt, COST, BLOCK_SIZE, PARALLELIZATION)
  return ['scrypt', COST, BLOCK_SIZE, PARALLELIZATION, salt.toString('base64'), hash.toString('base64')].join(
    '$',
  )
}

/**
 * Takes as long whether the password is right or wrong or there is none.
 * @param stored undefined where there is no such user; the answer is then false
 * @throws unavailable where too many are being worked on
 */
export async function verifyPassword(password: string, stored: string | undefined): Promise<boolean> {
  const [kind, cost, blockSize, parallelization, salt, hash] = (stored ?? '').split('$')
  if (kind !== 'scrypt' || salt === undefined || hash === undefined) {
    await derive(password, Buffer.alloc(SALT_LENGTH), COST, BLOCK_SIZE, PARALLELIZATION)
    return false
  }
  const expected = Buffer.from(hash, 'base64')
  const salted = Buffer.from(salt, 'base64')
  const actual = await derive(password, salted, Number(cost), Number(blockSize), Number(parallelization))
  return expected.length === actual.length && timingSafeEqual(expected, actual)
}

async function derive(
  password: string,
  salt: Uint8Array,
  cost: number,
  blockSize: number,
  parallelization: number,
): Promise<Buffer> {
  if (isBusy()) throw new LibraryError('unavailable', 'work on a password: too many are waiting')
  deriving++
  const slot = await slots.acquire()
  const parameters = { N: cost, r: blockSize, p: parallelization, maxmem: MEMORY_MAX }
  try {
    return await new Promise((resolve, reject) => {
      // The same text may be typed in more than one sequence of code points.
      scrypt(password.normalize('NFC'), salt, HASH_LENGTH, parameters, (error, key) =>
        error ? reject(error) : resolve(key),
      )
    })
  } finally {
    slots.release(slot)
    deriving--
  }
}
