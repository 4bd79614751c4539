/** MiB that a server's disk may have: 16 TiB. */
export const DISK_SIZE_MAX = 16 * 1024 * 1024

/** A size that servers come in. Sizes in MiB. */
export interface ServerType {
  readonly id: string
  readonly name: string
  readonly handle: string
  readonly status: 'experimental' | 'available' | 'deprecated'
  readonly cores: number
  readonly ram: number
  readonly diskSize: number
  readonly storageType: 'local' | 'network'
}
