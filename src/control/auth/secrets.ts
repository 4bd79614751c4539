import { createHash, timingSafeEqual } from 'node:crypto'
import { type Random, randomText } from '#model/ids.ts'

/**
 * 155 bits. At most 35 characters, or an official client cannot send it: it wraps the line after 45 bytes of
 * `cli-xxxxx:` and secret.
 */
const SECRET_LENGTH = 30
const TOKEN_BYTES = 20

export const newSecret = (random: Random) => randomText(SECRET_LENGTH, random)

/** @returns 40 hex digits */
export const newToken = (random: Random) => Buffer.from(random(TOKEN_BYTES)).toString('hex')

/** What is kept of secrets and tokens: they are random and long, so a fast hash is enough. */
export const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** Says whether a secret is the one that a hash was kept of, in a time that tells nothing. */
export function isSecret(secret: string, stored: string | undefined): boolean {
  const expected = Buffer.from(stored ?? '0'.repeat(64))
  const actual = Buffer.from(sha256(secret))
  const same = expected.length === actual.length && timingSafeEqual(expected, actual)
  return same && stored !== undefined
}
