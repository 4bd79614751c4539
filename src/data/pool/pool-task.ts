import type { PlainError } from '#base/thread-errors.ts'
import type { KeptBlock } from '#data/store/keep-block.ts'
import type { StoreTimes } from '#data/store/measured.ts'
import type { StorePlace } from '#data/store/open-store.ts'

interface Place {
  /** In the shared memory. */
  readonly address: number
  readonly length: number
}

/** What a worker of the pool is asked to do; `id` comes back with the result. */
export type PoolTask = { readonly id: number } & (
  | ({ readonly kind: 'store' } & Place)
  /** Fills `address` with the plain bytes of a block, or with the block as it rests, verified. */
  | ({ readonly kind: 'plain' | 'stored'; readonly digest: string; readonly storedLength: number } & Place)
  /** Adds bytes to the MD5 of one stream. */
  | ({ readonly kind: 'md5-update'; readonly stream: number } & Place)
  /** Asks for the MD5 of all so far; more may follow. */
  | { readonly kind: 'md5-digest'; readonly stream: number }
  /** Begins a stream with all bytes of another so far; nothing comes back, as from the next. */
  | { readonly kind: 'md5-fork'; readonly stream: number; readonly from: number }
  | { readonly kind: 'md5-forget'; readonly stream: number }
)

export type PoolAnswer = KeptBlock | string | undefined

export type PoolResult = (
  | { readonly id: number; readonly answer: PoolAnswer }
  | { readonly id: number; readonly error: PlainError }
) & {
  /** Of what the store was asked for since the result before. */
  readonly times?: StoreTimes
}

/** What a worker is started with. */
export interface PoolWorkerData {
  readonly memory: WebAssembly.Memory
  /** A part of the memory that is this worker's alone. */
  readonly scratch: number
  readonly storePlace: StorePlace
  /** Bytes of the file system that stay free; undefined where the store decides. */
  readonly reserve: number | undefined
}
