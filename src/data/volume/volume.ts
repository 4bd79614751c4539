import type { BlockLoader } from '#data/form/disk-blocks.ts'
import type { Reserve } from '#data/store/reserve.ts'
import type { Digest, ManifestStore } from '#data/store/store.ts'

/**
 * What a server's disk is made of, lowest first: the base (the image's disk, raw), then layers: qcow2 files that hold
 * what was written since, of which the guest writes to the last one. No layer's header is believed about what lies
 * below it. `createLayer`, `openLayer` and `fillBase` stand in the files of those names.
 */
export interface LayerReader extends AsyncDisposable {
  /** Bytes of the disk. */
  readonly size: number
  /**
   * What this layer says of its disk, ascending and never overlapping, each part within one MiB of the disk; what is
   * left out is as the layer below has it. `hostOffset` is where in the file the bytes are; undefined where the part
   * reads as zeros whatever lies below.
   * @throws Refusal where the file is not what QEMU writes; or the signal's reason
   */
  parts(signal: AbortSignal): AsyncGenerator<LayerPart>
  /** Reads bytes of the file, where a part said they are. */
  readAt(target: Uint8Array, hostOffset: number): Promise<void>
}

export interface LayerPart {
  readonly offset: number
  readonly length: number
  readonly hostOffset: number | undefined
}

export interface FillOptions {
  readonly manifests: ManifestStore
  /** Fetches and verifies blocks, in threads of its own where the caller has others to serve. */
  readonly loader: BlockLoader
  /** Kept from collection by whoever asks. */
  readonly manifest: Digest
  /**
   * The sparse raw file to make; it is there once it is complete. Until then it is `PATH.partial`, and `PATH.progress`
   * says how many bytes of the disk are on stable storage: filling goes on from there.
   */
  readonly path: string
  /** Bytes of data per second; undefined for no bound. */
  readonly rate: number | undefined
  /** Space of the file system: all of the base's data is announced before any of it is written. */
  readonly reserve: Reserve
  /** Bytes of the disk that are done, zeros included, a few times a second. */
  readonly onProgress: (done: number) => void
  readonly signal: AbortSignal
}

/**
 * Copies an image's disk into a raw file; when it resolves, all of that is on stable storage and the mode is 0444.
 * @throws corrupt, not_found, unavailable (also where the disk is full: nothing is lost, it can be called again), or
 * the signal's reason
 */
export type FillBase = (options: FillOptions) => Promise<void>

/**
 * Makes an empty layer for a disk of `size` bytes, a multiple of 512 up to 64 TiB, at a path that does not exist; on
 * stable storage when it resolves. Its qcow2 header names no backing file. A crash may leave a part of it there: give
 * it its name when it is whole.
 * @throws conflict where something is there; unavailable
 */
export type CreateLayer = (path: string, size: number) => Promise<void>

export type OpenLayer = (path: string, options: { readonly sizeLimit: number }) => Promise<LayerReader>
