/** Fresh random bytes, as `crypto.randomBytes` gives them; handed in so that tests can repeat a run. */
export type Random = (count: number) => Uint8Array

/** What an id names, by its first three letters; the names are those of the Brightbox API. */
export type IdPrefix =
  | 'acc'
  | 'usr'
  | 'cli'
  | 'app'
  | 'img'
  | 'srv'
  | 'vol'
  | 'int'
  | 'typ'
  | 'zon'
  | 'evt'
  | 'job'
  | 'key'

const DIGITS = '0123456789abcdefghijklmnopqrstuvwxyz'
const TAIL_LENGTH = 5

/**
 * A random id such as `img-3ikco`. Official clients insist on exactly five characters, so two of 60 million may meet:
 * whoever inserts one tries again with another.
 */
export function newId(prefix: IdPrefix, random: Random): string {
  return `${prefix}-${randomText(TAIL_LENGTH, random)}`
}

/** Says whether a text has the form of an id of this kind; nothing about whether it exists. */
export function isId(prefix: IdPrefix, text: string): boolean {
  return text.startsWith(`${prefix}-`) && /^[0-9a-z]{5}$/.test(text.slice(prefix.length + 1))
}

/** Evenly distributed lower-case letters and digits: 5.17 bits each. */
export function randomText(length: number, random: Random): string {
  let text = ''
  while (text.length < length) {
    for (const byte of random(length)) {
      // Bytes past the last multiple of 36 would make the first letters likelier.
      if (byte < 252 && text.length < length) text += DIGITS[byte % 36]
    }
  }
  return text
}
