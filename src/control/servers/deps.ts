import type { Catalog } from '#control/catalog/catalog.ts'
import type { JobLog } from '#control/jobs/queue.ts'
import type { Library } from '#control/library/library.ts'
import type { CreateLayer, FillBase } from '#data/volume/volume.ts'
import type { Random } from '#model/ids.ts'
import type { Hypervisor, UnixUser } from './qemu/machine.ts'

export interface ServersOptions {
  readonly catalog: Catalog
  readonly library: Library
  readonly hypervisor: Hypervisor
  readonly createLayer: CreateLayer
  readonly fillBase: (
    options: Omit<Parameters<FillBase>[0], 'manifests' | 'loader' | 'rate' | 'reserve'>,
  ) => Promise<void>
  readonly offer: Offer
  /** Holds one folder a server, and those of `bases`; made where it is missing. An absolute path. */
  readonly folder: string
  readonly settings: ServerSettings
  readonly now: () => number
  readonly random: Random
  readonly log: JobLog
  /** Timers of Node where it is missing. */
  readonly timer?: Timer
}

/** Does something later, unless what it returns is called before that. */
export type Timer = (delayMs: number, task: () => void) => () => void

/**
 * Offers an image's disk over NBD on a Unix socket until disposed of; a socket that is there is replaced.
 * @param owner whom the socket belongs to, where that is somebody else
 */
export type Offer = (options: {
  readonly path: string
  readonly manifest: string
  readonly owner: UnixUser | undefined
}) => Promise<AsyncDisposable>

/** Sizes in bytes; undefined for no bound. */
export interface ServerSettings {
  readonly network: NetworkSetting
  /** Where forwarded SSH ports listen, and which may be taken. */
  readonly sshAddress: string
  readonly sshPorts: { readonly first: number; readonly last: number }
  /** Servers run as Unix users of these numbers and up, by their slots; undefined for whoever runs the daemon. */
  readonly firstUid: number | undefined
  /** Of one account, where nothing else was said for it. */
  readonly perAccount: {
    readonly servers: number | undefined
    readonly ram: number | undefined
    readonly disk: number | undefined
  }
  /** Memory of all servers that run. */
  readonly ram: number | undefined
  /** Data that a snapshot may have. */
  readonly snapshotSize: number
}

export type NetworkSetting =
  | { readonly kind: 'user'; readonly isolated: boolean }
  | { readonly kind: 'bridge'; readonly bridge: string }
  | { readonly kind: 'none' }
