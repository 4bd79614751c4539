import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import type { ImportLimits } from '#base/limits.ts'
import type { S3Address } from '#data/store/s3/place.ts'
import { type NbdConfig, readNbd, readServers, type ServersConfig } from './config-servers.ts'
import type { Role } from './roles.ts'
import type { Setting } from './setting-kinds.ts'
import { type ReadSetting, SETTINGS, type SettingKey, type SettingValues } from './settings.ts'
import { readSettingsFile } from './settings-file.ts'

/** Everything that can be set, parsed once and never changed. Sizes in bytes, times in milliseconds. */
export interface Config {
  /** An absolute path. */
  readonly data: string
  /** The object store with blocks and manifests; undefined where they lie in the data folder. */
  readonly store: S3Address | undefined
  /** The database with the catalog; undefined where it lies in the data folder. */
  readonly catalog: { readonly url: string; readonly connections: number } | undefined
  readonly roles: ReadonlySet<Role>
  readonly http: {
    readonly host: string
    readonly port: number
    /** Scheme and host. */
    readonly publicUrl: string | undefined
    /** How long it still answers, with readiness taken back, before it stops. */
    readonly noticeMs: number
    readonly drainMs: number
    readonly silenceMs: number
    readonly connections: { readonly total: number; readonly perAddress: number }
  }
  /** Undefined where there is no SFTP. */
  readonly sftp: SftpConfig | undefined
  /** The folder of SFTP's host keys, also where this process has no SFTP: an absolute path. */
  readonly hostKeys: string
  readonly allowSource: readonly string[]
  readonly limits: ImportLimits
  readonly registrations: {
    readonly concurrency: number
    readonly perAccount: number
    readonly uploadsPerAccount: number
    readonly threads: number
  }
  readonly orbit: {
    readonly threads: number
    readonly uploads: number
  }
  readonly check: {
    /** Within which all that is stored is read once; undefined where nothing is checked in the background. */
    readonly ageMs: number | undefined
    /** Bytes per second. */
    readonly rate: number
    /** How long damaged files are kept; undefined for ever. */
    readonly quarantineMs: number | undefined
  }
  readonly collect: {
    /** Undefined where only the operator's command does it. */
    readonly everyMs: number | undefined
    /** Bytes for what one pass over the store remembers. */
    readonly memory: number
  }
  readonly servers: ServersConfig
  /** Scheme and host of the process that runs the servers, where that is another. */
  readonly serversUrl: string | undefined
  /** Undefined where nobody listens. */
  readonly nbd: NbdConfig | undefined
  /** Bytes of image data and uploads; undefined for no bound. */
  readonly quota: number | undefined
  /** Bytes of an object store's blocks to keep at hand in the data folder; undefined for none. */
  readonly cache: number | undefined
  /** Bytes of the data folder's file system that images leave free; undefined where the store decides. */
  readonly reserve: number | undefined
  /** Where metrics are read; undefined where nowhere. */
  readonly metrics: { readonly host: string; readonly port: number } | undefined
  readonly logLevel: string
  /** Every setting as text, and what decided it, for `config show`. */
  readonly effective: readonly EffectiveSetting[]
}

export interface SftpConfig {
  readonly host: string
  readonly port: number
  readonly processes: number
  readonly connections: number
  readonly perAddress: number
  readonly perLogin: number
  readonly graceMs: number
  readonly tries: number
  readonly idleMs: number
  /** Open files and directories of one connection. */
  readonly handles: number
}

export interface EffectiveSetting {
  readonly key: SettingKey
  readonly value: string
  readonly from: 'default' | 'file' | 'flag'
}

/** What the command line sets; each wins over the file. */
export interface Flags {
  readonly config?: string
  readonly data?: string
  readonly store?: string
  readonly catalog?: string
  readonly roles?: string
  readonly http?: string
  readonly sftp?: string
  readonly accelerator?: string
  readonly allowSource?: readonly string[]
}

const PATHS: readonly SettingKey[] = ['data', 'sftp.keys', 'nbd.certificate', 'nbd.key']

/** Defaults, then the file, then flags. @throws invalid, naming the setting, its place and its rule */
export function readConfig(flags: Flags = {}): Config {
  const texts = new Map<SettingKey, { text: string; from: EffectiveSetting['from']; place: string }>()
  for (const { key, value, place } of flags.config === undefined ? [] : readSettingsFile(flags.config)) {
    if (!isSetting(key)) throw unknownSetting(key, place)
    // A path in the file is meant from where the file lies.
    const isPath = PATHS.includes(key) && value !== ''
    const text = isPath && flags.config !== undefined ? resolve(dirname(flags.config), value) : value
    texts.set(key, { text, from: 'file', place })
  }
  const fromFlags = [
    ['data', '--data', flags.data],
    ['store', '--store', flags.store],
    ['catalog', '--catalog', flags.catalog],
    ['roles', '--roles', flags.roles],
    ['http.listen', '--http', flags.http],
    ['sftp.listen', '--sftp', flags.sftp],
    ['servers.accelerator', '--accelerator', flags.accelerator],
    ['source.allow', '--allow-source', flags.allowSource?.join(', ')],
  ] as const
  for (const [key, place, text] of fromFlags)
    if (text !== undefined) texts.set(key, { text, from: 'flag', place })

  const effective: EffectiveSetting[] = []
  function read<K extends SettingKey>(key: K): SettingValues[K] {
    const setting = SETTINGS[key] as Setting<SettingValues[K]>
    const given = texts.get(key)
    effective.push({ key, value: given?.text ?? setting.byDefault, from: given?.from ?? 'default' })
    const value = setting.parse(given?.text ?? setting.byDefault)
    if (value !== undefined) return value.value
    throw new LibraryError('invalid', `${given?.place ?? key}: ${key} must be ${setting.rule}`)
  }
  const data = resolve(read('data'))
  return Object.freeze({
    data,
    store: read('store'),
    catalog: readCatalog(read),
    roles: read('roles'),
    http: {
      ...read('http.listen'),
      publicUrl: read('http.public_url'),
      noticeMs: read('http.notice_time') ?? 0,
      drainMs: read('http.drain_time'),
      silenceMs: read('http.silence_time'),
      connections: {
        total: read('http.connections'),
        perAddress: read('http.connections_per_address'),
      },
    },
    sftp: readSftp(read),
    hostKeys: resolve(read('sftp.keys') ?? join(data, 'ssh')),
    allowSource: read('source.allow'),
    limits: readLimits(read),
    registrations: {
      concurrency: read('registrations.concurrent') ?? Math.max(availableParallelism(), 4),
      perAccount: read('registrations.per_account'),
      uploadsPerAccount: read('registrations.uploads_per_account'),
      threads: read('registrations.threads') ?? Math.min(availableParallelism(), 4),
    },
    orbit: {
      threads: read('orbit.threads') ?? Math.min(availableParallelism(), 4),
      uploads: read('orbit.uploads'),
    },
    check: {
      ageMs: read('check.age'),
      rate: read('check.rate'),
      quarantineMs: read('check.quarantine'),
    },
    collect: { everyMs: read('collect.every'), memory: read('collect.memory') },
    servers: readServers(read),
    serversUrl: read('servers.url'),
    nbd: readNbd(read),
    quota: read('accounts.quota'),
    cache: read('store.cache'),
    reserve: read('store.reserve'),
    metrics: read('metrics.listen'),
    logLevel: read('log.level'),
    effective,
  })
}

function readCatalog(read: ReadSetting): Config['catalog'] {
  const url = read('catalog')
  const connections = read('catalog.connections')
  return url === undefined ? undefined : { url, connections }
}

function readSftp(read: ReadSetting): SftpConfig | undefined {
  const where = read('sftp.listen')
  const settings = {
    processes: read('sftp.processes') ?? availableParallelism(),
    connections: read('sftp.connections'),
    perAddress: read('sftp.connections_per_address'),
    perLogin: read('sftp.connections_per_login'),
    graceMs: read('sftp.login_time'),
    tries: read('sftp.login_tries'),
    idleMs: read('sftp.idle_time'),
    handles: read('sftp.open_files'),
  }
  return where && { ...where, ...settings }
}

const readLimits = (read: ReadSetting): ImportLimits => ({
  virtualSize: read('limits.virtual_size'),
  sourceSize: read('limits.source_size'),
  xzDictionary: read('limits.xz_dictionary'),
  zstdWindow: read('limits.zstd_window'),
  connectMs: read('limits.connect_time'),
  headersMs: read('limits.headers_time'),
  silenceMs: read('limits.silence_time'),
  slowRate: read('limits.slow_rate'),
  slowWindowMs: read('limits.slow_window'),
  totalMs: read('limits.total_time'),
  redirects: read('limits.redirects'),
  resumes: read('limits.resumes'),
})

const isSetting = (key: string): key is SettingKey => Object.hasOwn(SETTINGS, key)

function unknownSetting(key: string, place: string): LibraryError {
  const name = key.split('.').at(-1)
  const near = Object.keys(SETTINGS).find((known) => known.split('.').at(-1) === name)
  return new LibraryError('invalid', `${place}: there is no setting ${key}`, {
    hint: near === undefined ? 'see docs/guides/settings.md for all settings' : `did you mean ${near}?`,
  })
}
