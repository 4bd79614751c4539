export type VolumeStatus = 'creating' | 'attached' | 'deleted' | 'failed'

/**
 * A server's writable disk: its image below, and layers that hold what was written since. It stands alone once all of
 * the image's blocks were copied into the base; until then the library serves them.
 * Sizes in bytes, times in milliseconds since 1970.
 */
export interface Volume {
  readonly id: string
  readonly accountId: string
  readonly serverId: string
  readonly imageId: string
  readonly name: string | null
  readonly status: VolumeStatus
  /** What the guest sees. */
  readonly size: number
  /** The manifest of the image that it was made from: 64 hex digits. */
  readonly manifest: string
  /** Bytes of the image's disk, and how many of them were copied into the base. */
  readonly imageSize: number
  readonly filled: number
  /** All is copied, and the base is in the server's folder on stable storage. */
  readonly standsAlone: boolean
  /** Files in the server's folder, lowest first; the guest writes to the last one. */
  readonly layers: readonly string[]
  readonly createdAt: number
  readonly updatedAt: number
  readonly deletedAt: number | null
}
