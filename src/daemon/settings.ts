import { isIP } from 'node:net'
import { GiB, MiB, TiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { createAddressRule } from '#data/source/address.ts'
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

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

function sizeFrom(min: number, max: number, byDefault: number): Setting<number> {
  return {
    byDefault: printSize(byDefault),
    rule: `a size from ${printSize(min)} to ${printSize(max)}, such as ${printSize(byDefault)}`,
    parse: (text) => within(parseSize(text), min, max),
  }
}

function timeUpTo(max: number, byDefault: number): Setting<number> {
  return {
    byDefault: printDuration(byDefault),
    rule: `a time from 100 ms to ${printDuration(max)}, such as ${printDuration(byDefault)}`,
    parse: (text) => within(parseDuration(text), 100, max),
  }
}

function countFrom(min: number, max: number, byDefault: number): Setting<number> {
  return {
    byDefault: String(byDefault),
    rule: `an integer from ${min} to ${max}`,
    parse: (text) => within(/^\d{1,9}$/.test(text) ? Number(text) : undefined, min, max),
  }
}

const within = (value: number | undefined, min: number, max: number) =>
  value !== undefined && value >= min && value <= max ? { value } : undefined

/** A setting that may be left to the library: an empty value or `word` stands for undefined. */
function orElse<T>(word: string, setting: Setting<T>): Setting<T | undefined> {
  return {
    byDefault: word,
    rule: `${word || 'empty'} or ${setting.rule}`,
    parse: (text) => (text === word || text === '' ? { value: undefined } : setting.parse(text)),
  }
}

const listen: Setting<Listen> = {
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

const sftpListen: Setting<Listen | undefined> = {
  byDefault: '127.0.0.1:2222',
  rule: 'none or ADDRESS:PORT, such as 127.0.0.1:2222 or [::]:2222',
  parse: (text) => (text === 'none' ? { value: undefined } : listen.parse(text)),
}

const publicUrl: Setting<string> = {
  byDefault: '',
  rule: 'scheme and host, such as https://images.example.org',
  parse(text) {
    const url = URL.parse(text)
    const isOrigin = url !== null && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`
    return isOrigin ? { value: url.origin } : undefined
  },
}

const ranges: Setting<readonly string[]> = {
  byDefault: '',
  rule: 'address ranges, such as 10.0.0.0/8, fd00::/8',
  parse(text) {
    const list = text.split(/[\s,]+/).filter(Boolean)
    try {
      createAddressRule(list)
      return { value: list }
    } catch {
      return undefined
    }
  },
}

const folder: Setting<string> = {
  byDefault: './data',
  rule: 'the path of a folder',
  parse: (text) => (text === '' || text.includes('\0') ? undefined : { value: text }),
}

const level: Setting<string> = {
  byDefault: 'info',
  rule: `one of ${LEVELS.join(', ')}`,
  parse: (text) => (LEVELS.includes(text) ? { value: text } : undefined),
}

const DAY_MS = 24 * 3600_000

export const SETTINGS = {
  data: folder,
  'http.listen': listen,
  'http.public_url': orElse('', publicUrl),
  'http.drain_time': timeUpTo(3600_000, 10_000),
  'http.silence_time': timeUpTo(DAY_MS, 60_000),
  'sftp.listen': sftpListen,
  'sftp.processes': orElse('auto', countFrom(1, 64, 2)),
  'sftp.connections': countFrom(1, 10_000, 256),
  'sftp.connections_per_address': countFrom(1, 10_000, 128),
  'sftp.connections_per_login': countFrom(1, 10_000, 64),
  'sftp.login_time': timeUpTo(3600_000, 60_000),
  'sftp.login_tries': countFrom(1, 100, 6),
  'sftp.idle_time': timeUpTo(DAY_MS, 15 * 60_000),
  'sftp.open_files': countFrom(1, 10_000, 256),
  'source.allow': ranges,
  'limits.virtual_size': sizeFrom(MiB, 64 * TiB, DEFAULT_LIMITS.virtualSize),
  'limits.source_size': sizeFrom(MiB, 64 * TiB, DEFAULT_LIMITS.sourceSize),
  'limits.xz_dictionary': sizeFrom(MiB, GiB, DEFAULT_LIMITS.xzDictionary),
  'limits.zstd_window': sizeFrom(MiB, GiB, DEFAULT_LIMITS.zstdWindow),
  'limits.connect_time': timeUpTo(DAY_MS, DEFAULT_LIMITS.connectMs),
  'limits.headers_time': timeUpTo(DAY_MS, DEFAULT_LIMITS.headersMs),
  'limits.silence_time': timeUpTo(DAY_MS, DEFAULT_LIMITS.silenceMs),
  'limits.slow_rate': sizeFrom(0, GiB, DEFAULT_LIMITS.slowRate),
  'limits.slow_window': timeUpTo(DAY_MS, DEFAULT_LIMITS.slowWindowMs),
  'limits.total_time': timeUpTo(30 * DAY_MS, DEFAULT_LIMITS.totalMs),
  'limits.redirects': countFrom(0, 20, DEFAULT_LIMITS.redirects),
  'limits.resumes': countFrom(0, 1000, DEFAULT_LIMITS.resumes),
  'registrations.concurrent': orElse('auto', countFrom(1, 64, 4)),
  'registrations.per_account': countFrom(1, 64, 2),
  'registrations.uploads_per_account': countFrom(1, 1000, 8),
  'registrations.threads': orElse('auto', countFrom(1, 64, 2)),
  'orbit.threads': orElse('auto', countFrom(1, 64, 2)),
  'store.reserve': orElse('auto', sizeFrom(0, 64 * TiB, 256 * MiB)),
  'accounts.quota': orElse('none', sizeFrom(MiB, 1024 * TiB, 100 * GiB)),
  'log.level': level,
} satisfies Record<string, Setting<unknown>>

export type SettingKey = keyof typeof SETTINGS
export type SettingValues = {
  [K in SettingKey]: (typeof SETTINGS)[K] extends Setting<infer T> ? T : never
}
