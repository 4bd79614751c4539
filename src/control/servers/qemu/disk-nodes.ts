import { MACHINE_FILES } from './machine.ts'

/** QEMU's names of what a disk is made of, beside the layers, which are called like their files. */
export const DISK_NODES = { base: 'base', export: 'image-export', seed: 'seed' } as const

/** How long a guest's read waits for a daemon that starts again before the guest is held. */
const RECONNECT_SECONDS = 10

/** What `blockdev-add`, `blockdev-reopen` and `-blockdev` take. */
export interface DiskNode {
  readonly 'node-name': string
  readonly [option: string]: unknown
}

/**
 * A raw disk that nobody writes to. It is not locked: several servers have one base, and whoever may read a file may
 * hold locks on it, by which one QEMU that was taken over would keep all others from opening it.
 */
export const fileNode = (name: string, path: string): DiskNode => ({
  'node-name': name,
  driver: 'raw',
  'read-only': true,
  file: { driver: 'file', 'node-name': `${name}-file`, filename: path, locking: 'off' },
})

/** The image as the library serves it. */
export const exportNode = (): DiskNode => ({
  'node-name': DISK_NODES.export,
  driver: 'nbd',
  'read-only': true,
  server: { type: 'unix', path: MACHINE_FILES.exportSocket },
  'reconnect-delay': RECONNECT_SECONDS,
})

interface LayerPlace {
  /** The node below; null where it is to be put below by `blockdev-snapshot`. */
  readonly backing: string | null
  readonly isReadOnly: boolean
}

/**
 * A layer: its format is stated, and what lies below is said here and not read from the file. Discarded and zeroed
 * ranges take no space in it.
 */
export const layerNode = (name: string, place: LayerPlace): DiskNode => ({
  ...reopenedLayer(name, place),
  file: { driver: 'file', 'node-name': layerFile(name), filename: name },
})

/** The same options for a layer that is open: what `blockdev-reopen` is not told goes back to QEMU's defaults. */
export const reopenedLayer = (name: string, { backing, isReadOnly }: LayerPlace): DiskNode => ({
  'node-name': name,
  driver: 'qcow2',
  'read-only': isReadOnly,
  discard: 'unmap',
  'detect-zeroes': 'unmap',
  backing,
  file: layerFile(name),
})

const layerFile = (name: string) => `${name}-file`
