import { isIP } from 'node:net'
import { parseDuration, parseSize, printDuration, printSize } from './units.ts'

/** How one setting is written. docs/guides/settings.md gives the reasons of the defaults. */
export interface Setting<T> {
  readonly byDefault: string
  /** Ends the sentence "… must be". */
  readonly rule: string
  /** Wrapped, because `undefined` is a good value of some; undefined alone where the rule is broken. */
  parse(text: string): { readonly value: T } | undefined
}

export interface Listen {
  readonly host: string
  readonly port: number
}

export function sizeFrom(min: number, max: number, byDefault: number): Setting<number> {
  return {
    byDefault: printSize(byDefault),
    rule: `a size from ${printSize(min)} to ${printSize(max)}, such as ${printSize(byDefault)}`,
    parse: (text) => within(parseSize(text), min, max),
  }
}

export function timeUpTo(max: number, byDefault: number): Setting<number> {
  return {
    byDefault: printDuration(byDefault),
    rule: `a time from 100 ms to ${printDuration(max)}, such as ${printDuration(byDefault)}`,
    parse: (text) => within(parseDuration(text), 100, max),
  }
}

export function countFrom(min: number, max: number, byDefault: number): Setting<number> {
  return {
    byDefault: String(byDefault),
    rule: `an integer from ${min} to ${max}`,
    parse: (text) => within(/^\d{1,9}$/.test(text) ? Number(text) : undefined, min, max),
  }
}

const within = (value: number | undefined, min: number, max: number) =>
  value !== undefined && value >= min && value <= max ? { value } : undefined

/** A setting that may be left to the library: an empty value or `word` stands for undefined. */
export function orElse<T>(word: string, setting: Setting<T>, byDefault = word): Setting<T | undefined> {
  return {
    byDefault,
    rule: `${word || 'empty'} or ${setting.rule}`,
    parse: (text) => (text === word || text === '' ? { value: undefined } : setting.parse(text)),
  }
}

export const listen: Setting<Listen> = {
  byDefault: '127.0.0.1:8080',
  rule: 'ADDRESS:PORT, such as 127.0.0.1:8080 or [::]:8080',
  parse(text) {
    const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? []
    const host = bracketed ?? plain ?? ''
    const port = Number(digits)
    const isHost = bracketed === undefined ? isIP(host) === 4 || host === 'localhost' : isIP(host) === 6
    return isHost && port <= 65_535 ? { value: { host, port } } : undefined
  },
}

/** Where to listen, or `none`. */
export const listenOrNone = (byDefault: string): Setting<Listen | undefined> => ({
  byDefault,
  rule: `none or ${listen.rule}`,
  parse: (text) => (text === 'none' ? { value: undefined } : listen.parse(text)),
})

/** The path of a file or folder. */
export const path = (kind: 'file' | 'folder', byDefault: string): Setting<string> => ({
  byDefault,
  rule: `the path of a ${kind}`,
  parse: (text) => (text === '' || text.includes('\0') ? undefined : { value: text }),
})

export function oneOf<const T extends string>(words: readonly T[], byDefault: T): Setting<T> {
  return {
    byDefault,
    rule: `one of ${words.join(', ')}`,
    parse(text) {
      const word = words.find((word) => word === text)
      return word === undefined ? undefined : { value: word }
    },
  }
}
