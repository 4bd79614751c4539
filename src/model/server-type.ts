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
