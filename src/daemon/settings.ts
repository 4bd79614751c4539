import { isIP } from 'node:net'
import { GiB, KiB, MiB, TiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { POSTGRES_URL_RULE, parsePostgresUrl } from '#control/catalog/postgres-url.ts'
import type { NetworkSetting } from '#control/servers/deps.ts'
import { createAddressRule } from '#data/source/address.ts'
import { parseS3Address, S3_RULE, type S3Address } from '#data/store/s3/place.ts'
import { roles } from './roles.ts'
import {
  countFrom,
  listen,
  listenOrNone,
  oneOf,
  orElse,
  path,
  type Setting,
  sizeFrom,
  timeUpTo,
} from './setting-kinds.ts'

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

const publicUrl: Setting<string> = {
  byDefault: '',
  rule: 'scheme and host, such as https://images.example.org',
  parse(text) {
    const url = URL.parse(text)
    const isOrigin = url !== null && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`
    return isOrigin ? { value: url.origin } : undefined
  },
}

const s3Address: Setting<S3Address> = {
  byDefault: '',
  rule: S3_RULE,
  parse(text) {
    try {
      return { value: parseS3Address(text) }
    } catch {
      return undefined
    }
  },
}

const postgresUrl: Setting<string> = {
  byDefault: '',
  rule: POSTGRES_URL_RULE,
  parse(text) {
    const url = parsePostgresUrl(text)
    return url === undefined ? undefined : { value: url }
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

const network: Setting<NetworkSetting> = {
  byDefault: 'user',
  rule: 'user, isolated, none or bridge:NAME, such as bridge:br0',
  parse(text) {
    if (text === 'user' || text === 'isolated')
      return { value: { kind: 'user', isolated: text === 'isolated' } }
    if (text === 'none') return { value: { kind: 'none' } }
    // The longest name that Linux gives to a device has 15 characters.
    const bridge = /^bridge:([A-Za-z0-9_.-]{1,15})$/.exec(text)?.[1]
    return bridge === undefined ? undefined : { value: { kind: 'bridge', bridge } }
  },
}

const address: Setting<string> = {
  byDefault: '127.0.0.1',
  rule: 'an IPv4 address, such as 127.0.0.1',
  parse: (text) => (isIP(text) === 4 ? { value: text } : undefined),
}

const ports: Setting<{ readonly first: number; readonly last: number }> = {
  byDefault: '22000-22999',
  rule: 'two ports from 1024 to 65535, the lower one first, such as 22000-22999',
  parse(text) {
    const [, first, last] = (/^(\d{4,5})-(\d{4,5})$/.exec(text) ?? []).map(Number)
    const fits = first !== undefined && last !== undefined && first >= 1024 && first <= last && last <= 65_535
    return fits ? { value: { first, last } } : undefined
  },
}

const DAY_MS = 24 * 3600_000

export const SETTINGS = {
  data: path('folder', './data'),
  store: orElse('', s3Address),
  catalog: orElse('', postgresUrl),
  'catalog.connections': countFrom(3, 1000, 12),
  roles,
  'http.listen': listen,
  'http.public_url': orElse('', publicUrl),
  'http.notice_time': orElse('none', timeUpTo(3600_000, 5000)),
  'http.drain_time': timeUpTo(3600_000, 10_000),
  'http.silence_time': timeUpTo(DAY_MS, 60_000),
  'http.connections': countFrom(1, 1_000_000, 4096),
  'http.connections_per_address': countFrom(1, 1_000_000, 1024),
  'sftp.listen': listenOrNone('127.0.0.1:2222'),
  'sftp.keys': orElse('', path('folder', '')),
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
  'orbit.uploads': countFrom(2, 100_000, 512),
  'store.cache': orElse('none', sizeFrom(64 * MiB, 64 * TiB, 10 * GiB)),
  'store.reserve': orElse('auto', sizeFrom(0, 64 * TiB, 256 * MiB)),
  'check.age': orElse('none', timeUpTo(3650 * DAY_MS, 30 * DAY_MS), '30 d'),
  'check.quarantine': orElse('none', timeUpTo(3650 * DAY_MS, 90 * DAY_MS), '90 d'),
  'check.rate': sizeFrom(64 * KiB, 100 * GiB, 32 * MiB),
  'collect.every': orElse('none', timeUpTo(365 * DAY_MS, DAY_MS), '1 d'),
  'collect.memory': sizeFrom(MiB, TiB, 100 * MiB),
  'accounts.quota': orElse('none', sizeFrom(MiB, 1024 * TiB, 100 * GiB)),
  'servers.url': orElse('', publicUrl),
  'servers.accelerator': oneOf(['auto', 'kvm', 'tcg'], 'auto'),
  'servers.network': network,
  'servers.ssh_address': address,
  'servers.ssh_ports': ports,
  'servers.first_uid': orElse('none', countFrom(65_536, 900_000_000, 930_000), '930000'),
  'servers.fill_rate': orElse('none', sizeFrom(64 * KiB, 100 * GiB, 100 * MiB)),
  'servers.snapshot_size': sizeFrom(MiB, 64 * TiB, 50 * GiB),
  'servers.ram': orElse('auto', sizeFrom(64 * MiB, 64 * TiB, 16 * GiB)),
  'servers.per_account': orElse('none', countFrom(0, 100_000, 10)),
  'servers.ram_per_account': orElse('none', sizeFrom(0, 64 * TiB, 16 * GiB)),
  'servers.disk_per_account': orElse('none', sizeFrom(0, 1024 * TiB, 500 * GiB)),
  'nbd.listen': listenOrNone('none'),
  'nbd.certificate': orElse('', path('file', '/etc/image-library/nbd.crt')),
  'nbd.key': orElse('', path('file', '/etc/image-library/nbd.key')),
  'metrics.listen': listenOrNone('none'),
  'log.level': oneOf(LEVELS, 'info'),
} satisfies Record<string, Setting<unknown>>

export type SettingKey = keyof typeof SETTINGS
export type SettingValues = {
  [K in SettingKey]: (typeof SETTINGS)[K] extends Setting<infer T> ? T : never
}

export type ReadSetting = <K extends SettingKey>(key: K) => SettingValues[K]
