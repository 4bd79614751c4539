/** Bytes in the order they arrive. A chunk is valid until the next one is asked for; its length is arbitrary. */
export type ByteStream = AsyncIterable<Uint8Array>

/** Bytes at any offset, of something that may still be arriving. */
export interface RandomBytes {
  /** The whole length in bytes where it is known already, else undefined. */
  readonly size: number | undefined
  /**
   * Fills `target` from `offset` on, waiting for bytes that are still on their way.
   * @returns the count of bytes filled; fewer than asked for only where the end came first
   */
  readAt(target: Uint8Array, offset: number): Promise<number>
}

export const KiB = 1024
export const MiB = 1024 * KiB
export const GiB = 1024 * MiB
export const TiB = 1024 * GiB
