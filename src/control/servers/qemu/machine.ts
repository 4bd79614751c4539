import type { Accelerator } from '#model/server.ts'

/**
 * What one server's QEMU is started with. Paths are names in the server's folder, in which QEMU runs: it can reach
 * nothing else of the library's.
 */
export interface MachineSpec {
  readonly id: string
  /** The server's folder: an absolute path. */
  readonly folder: string
  readonly accelerator: Accelerator
  readonly cores: number
  /** MiB. */
  readonly ram: number
  readonly compatibilityMode: boolean
  /** What the guest sees as its disk's serial number; at most 20 characters, as virtio has them. */
  readonly diskSerial: string
  /** Bytes. */
  readonly diskSize: number
  /** Where the image's disk is read: over the export in the folder, or from the base that is filled. */
  readonly base: 'export' | 'file'
  /** Lowest first. */
  readonly layers: readonly string[]
  readonly macAddress: string
  readonly network: MachineNetwork
  /** Whom QEMU runs as; undefined for whoever runs the daemon. */
  readonly user: UnixUser | undefined
}

export interface UnixUser {
  readonly uid: number
  readonly gid: number
}

export type MachineNetwork =
  /** The guest reaches out through the host; `sshPort` at `sshAddress` leads to its port 22. */
  | {
      readonly kind: 'user'
      readonly sshAddress: string
      readonly sshPort: number
      /** Only the forwarded port works: nothing that the guest sends leads anywhere. */
      readonly isolated: boolean
    }
  /** A tap device of this name, made on that bridge when QEMU starts and removed when it has ended. */
  | { readonly kind: 'tap'; readonly device: string; readonly bridge: string }
  | { readonly kind: 'none' }

/** Names in a server's folder. */
export const MACHINE_FILES = {
  base: 'base.raw',
  /** The library listens here while the base is not filled. */
  exportSocket: 'image.sock',
  monitor: 'monitor.sock',
  serial: 'serial.sock',
  vnc: 'vnc.sock',
  agent: 'agent.sock',
  /** What cloud-init reads at first boot. */
  seed: 'seed.iso',
  /** What QEMU says. */
  log: 'qemu.log',
} as const

/** Why a machine is no longer there. */
export type MachineEnd =
  /** The guest turned itself off. */
  | 'powered-off'
  /** We ended it. */
  | 'quit'
  /** It died: killed, crashed, out of memory. */
  | 'died'

/** A QEMU that runs. What is asked of it throws unavailable where QEMU is gone or does not answer in time. */
export interface Machine {
  /** Resolves once its process is gone and nothing of it runs any more; never rejects. */
  readonly ended: Promise<MachineEnd>
  /** What the guest writes to, and what is read below: names of layers, lowest first, as QEMU has them. */
  layers(): Promise<readonly string[]>
  /** Whether the image is still read over the export. */
  usesExport(): Promise<boolean>
  /** Reads the image from the base from now on, without the guest noticing. */
  switchToBase(): Promise<void>
  /**
   * From now on the guest writes to this layer, which is there and empty; all below is on disk and changes no more.
   * Where a guest agent answers, its file systems are frozen meanwhile.
   * @returns how long the guest could not write, and whether its file systems were frozen
   */
  addLayer(name: string): Promise<{ readonly pausedMs: number; readonly frozen: boolean }>
  /**
   * Puts the layers between the lowest and the last one into the lowest; resolves when QEMU no longer uses them. Until
   * then a crash harms nothing: the whole chain reads the same at every moment.
   */
  mergeLayers(signal: AbortSignal): Promise<void>
  /** Whether the guest waits because the host could not read or write for it. */
  isHeld(): Promise<boolean>
  /** Lets a guest that is held try again; it may be held again, also where the export has just come back. */
  release(): Promise<void>
  pressPower(): Promise<void>
  askReboot(): Promise<void>
  reset(): Promise<void>
  /** Ends it at once, by force where it does not answer; resolves with `ended`. */
  quit(): Promise<void>
  /** Lets go of it without ending it. */
  detach(): void
}

/** Starts QEMUs, and finds those that run. */
export interface Hypervisor {
  /** What new servers run by; proved once where that is to be found out. */
  readonly accelerator: () => Promise<Accelerator>
  /**
   * Starts a machine in its folder, where base or export, layers and seed are in place.
   * @throws unavailable with what QEMU said, where it does not start; then nothing of it runs
   */
  start(spec: MachineSpec, signal: AbortSignal): Promise<Machine>
  /** The machine that runs in a folder; undefined where none does. A process that does not answer is ended. */
  find(folder: string): Promise<Machine | undefined>
  /** Ends every QEMU of ours that runs in a folder below this one but not in one of `kept`. @returns how many */
  endOthers(parent: string, kept: ReadonlySet<string>): Promise<number>
}
