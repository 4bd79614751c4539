import { createHash, randomUUID } from 'node:crypto'
import { chmod, link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ssh2 from 'ssh2'
import { LibraryError } from '#base/errors.ts'

export interface HostKeys {
  /** As OpenSSH keeps them; the one that clients prefer first. */
  readonly privateKeys: readonly string[]
  /** Of the first one, `SHA256:…` as clients show it. */
  readonly fingerprint: string
}

/** RSA is for clients of before 2014. */
const KINDS = ['ed25519', 'rsa'] as const
const RSA_BITS = 3072

/**
 * The keys by which clients know this server, made when there are none; of several processes that share the folder and
 * begin at once, all get the same.
 * @throws invalid where one is damaged
 */
export async function readHostKeys(folder: string): Promise<HostKeys> {
  // One that is there may be the operator's, and not to be written.
  if ((await mkdir(folder, { recursive: true })) !== undefined) await chmod(folder, 0o700)
  const privateKeys: string[] = []
  for (const kind of KINDS) privateKeys.push(await readOrMake(join(folder, `ssh_host_${kind}_key`), kind))
  return { privateKeys, fingerprint: fingerprintOf(privateKeys[0] ?? '') }
}

async function readOrMake(path: string, kind: (typeof KINDS)[number]): Promise<string> {
  const known = await readKey(path)
  if (known !== undefined) return known
  const pair = await makePair(kind)
  if (await writeNew(path, pair.private, 0o600)) {
    await writeNew(`${path}.pub`, `${pair.public}\n`, 0o644)
    return pair.private
  }
  return (await readKey(path)) ?? pair.private
}

async function readKey(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined || !(ssh2.utils.parseKey(text) instanceof Error)) return text
  throw new LibraryError('invalid', `read the host key ${path}: it is not a private key`, {
    hint: 'restore it, or remove it to have another one made: clients will warn of that',
  })
}

type Pair = { readonly private: string; readonly public: string }

/**
 * A pair of keys in the form of OpenSSH.
 *
 * Where a half of an Ed25519 key begins with a zero byte, ssh2 1.17 leaves that byte out and writes a key that
 * nothing reads, itself included: one of about 200. Then another is made.
 */
export async function makePair(kind: (typeof KINDS)[number]): Promise<Pair> {
  for (;;) {
    const pair = await generatePair(kind)
    if (!(ssh2.utils.parseKey(pair.private) instanceof Error)) return pair
  }
}

function generatePair(kind: (typeof KINDS)[number]): Promise<Pair> {
  const made = Promise.withResolvers<Pair>()
  const done = (error: Error | null, pair: Pair) => (error ? made.reject(error) : made.resolve(pair))
  if (kind === 'rsa') ssh2.utils.generateKeyPair('rsa', { bits: RSA_BITS }, done)
  else ssh2.utils.generateKeyPair('ed25519', done)
  return made.promise
}

/** Whole or not at all, whenever the machine stops. @returns whether there was none before */
async function writeNew(path: string, text: string, mode: number): Promise<boolean> {
  const part = `${path}.${randomUUID()}.part`
  try {
    await writeFile(part, text, { mode, flush: true })
    await link(part, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return false
  } finally {
    await rm(part, { force: true })
  }
}

function fingerprintOf(privateKey: string): string {
  const key = ssh2.utils.parseKey(privateKey)
  if (key instanceof Error) throw key
  return `SHA256:${createHash('sha256').update(key.getPublicSSH()).digest('base64').replace(/=+$/, '')}`
}
