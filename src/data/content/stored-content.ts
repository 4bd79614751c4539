import type { Content } from '#base/content.ts'
import type { ManifestWriter } from '#data/manifest/writer.ts'
import type { BlockPool, RoomBytes } from '#data/pool/block-pool.ts'
import type { RunningMd5 } from '#data/pool/running-md5.ts'
import type { KeptBlock } from '#data/store/keep-block.ts'
import type { Digest, Store } from '#data/store/store.ts'

type ManifestContent = Extract<Content, { kind: 'manifest' }>

/** Up to so many files are synced one by one; for more, syncing the whole file system is quicker. */
const LISTED = 32

export interface StoringDeps {
  readonly pool: BlockPool
  readonly store: Store
  /** Where a manifest waits that does not fit in memory. */
  readonly spoolDirectory: string
  /** Has collection leave alone what is stored from now on. */
  readonly keep: () => Promise<AsyncDisposable>
}

/** What one writer keeps in the store: safe from collection from its first block until it is disposed of. */
export class StoredContent implements AsyncDisposable {
  readonly #deps: StoringDeps
  #keeping: Promise<AsyncDisposable> | undefined
  /** May not be on stable storage; also those that were known, as whoever put them may not have come to it. */
  readonly #unsynced = new Set<Digest>()

  constructor(deps: StoringDeps) {
    this.#deps = deps
  }

  /** As the pool's `store`. */
  async put(
    bytes: RoomBytes,
    options: { signal: AbortSignal; md5?: RunningMd5 },
  ): Promise<KeptBlock | undefined> {
    await this.#keep()
    const block = await this.#deps.pool.store(bytes, options)
    if (block && this.#unsynced.size <= LISTED) this.#unsynced.add(block.digest)
    return block
  }

  /** Puts the manifest of blocks that were all put here or by a content that is kept; all is on stable storage then. */
  async finish(manifest: ManifestWriter, size: number): Promise<ManifestContent> {
    await this.#keep()
    const { store } = this.#deps
    const { digest } = await manifest.finish(store.manifests, size)
    const blocks = [...this.#unsynced]
    await store.sync(blocks.length > LISTED ? undefined : { blocks, manifests: [digest] })
    for (const block of blocks) this.#unsynced.delete(block)
    return { kind: 'manifest', manifest: digest, form: 'raw', size }
  }

  async #keep(): Promise<void> {
    this.#keeping ??= this.#deps.keep()
    await this.#keeping
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const keeping = await this.#keeping?.catch(() => undefined)
    await keeping?.[Symbol.asyncDispose]()
  }
}
