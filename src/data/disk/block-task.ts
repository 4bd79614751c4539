import type { PlainError } from '#base/thread-errors.ts'
import type { Qcow2Extent } from '#data/format/qcow2/extents.ts'
import type { KeptBlock } from '#data/store/keep-block.ts'
import type { StoreTimes } from '#data/store/measured.ts'
import type { StorePlace } from '#data/store/open-store.ts'

/** What a block worker is asked to do; `id` comes back with the result. */
export type BlockTask =
  /** One block whose bytes lie in shared memory. */
  | {
      readonly id: number
      readonly kind: 'memory'
      readonly index: number
      readonly address: number
      readonly length: number
    }
  /** A region of one or more blocks to be read from the spool; what no extent covers is zeros. */
  | {
      readonly id: number
      readonly kind: 'spool'
      readonly fd: number
      readonly offset: number
      readonly length: number
      readonly clusterSize: number
      readonly extents: readonly Qcow2Extent[]
      /** Whether the region's first bytes are to come back with the result. */
      readonly wantHead: boolean
    }
  /** A whole xz block, to be decoded from a block border of the disk on. */
  | {
      readonly id: number
      readonly kind: 'xz'
      readonly offset: number
      readonly bytes: Uint8Array<ArrayBuffer>
      readonly check: number
      readonly uncompressedSize: number
    }

export interface StoredBlock extends KeptBlock {
  readonly index: number
}

export type BlockResult = BlockOutcome & {
  /** Of what was stored since the result before. */
  readonly times?: StoreTimes
}

export type BlockOutcome =
  /** A sign that a long task gets on; its result is still to come. */
  | { readonly id: number; readonly sign: true }
  | {
      readonly id: number
      /** Blocks of zeros are left out. */
      readonly blocks: readonly StoredBlock[]
      readonly decoded: number
      /** Per compressed extent of the task, in order: bytes of the spool its stream really took. */
      readonly consumed?: readonly number[]
      readonly head?: Uint8Array | undefined
      /** The last bytes of the task, for what is recognised by its end. */
      readonly tail?: Uint8Array | undefined
    }
  | { readonly id: number; readonly error: PlainError }

/** What a block worker is started with. */
export interface BlockWorkerData {
  readonly memory: WebAssembly.Memory
  /** A part of the memory that is this worker's alone. */
  readonly scratch: number
  readonly storePlace: StorePlace
  /** Whose temporary files the store's are. */
  readonly writer: string
  /** Bytes of the file system that stay free; undefined where the store decides. */
  readonly reserve: number | undefined
  readonly xzDictionary: number
  /** Where decoder processes are to be had. */
  readonly decoders: string
}
