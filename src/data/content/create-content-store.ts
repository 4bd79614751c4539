import type { BlockLoader } from '#data/form/disk-blocks.ts'
import { type Form, type FormKind, openForm, openLayout } from '#data/form/form.ts'
import { createBlockPool } from '#data/pool/block-pool.ts'
import type { PoolObserver } from '#data/pool/lane.ts'
import type { StorePlace } from '#data/store/open-store.ts'
import type { Store } from '#data/store/store.ts'
import { BlockCache } from './block-cache.ts'
import type { ContentStore } from './content.ts'
import { openEditor } from './editor.ts'
import { type ExportedDisk, openExportedDisk } from './exported-disk.ts'
import { joinParts } from './join.ts'
import { poolLoader } from './pool-loader.ts'
import { openParts } from './reader.ts'
import { openWriter } from './writer.ts'

export interface ContentStoreOptions extends PoolObserver {
  readonly storePlace: StorePlace
  /** Where is put what does not fit in memory. */
  readonly spoolDirectory: string
  /** Over the same folder. */
  readonly store: Store
  /** That store and load blocks, for all transfers together. */
  readonly threads: number
  /** Bytes of the file system that stay free; undefined for a part of it. */
  readonly reserve: number | undefined
  /**
   * Has collection leave alone what is put or claimed from now on, until disposed of. Called before the first block of
   * a writer or editor; disposed of with that.
   */
  readonly keep: () => Promise<AsyncDisposable>
  /** Blocks in shared memory at once, where the default is too much. */
  readonly slots?: number
}

/** A store of contents that lends its threads to downloads of images too. */
export interface OpenContentStore extends ContentStore {
  /** As `openForm` of data/form. */
  openForm(manifest: string, kind: FormKind): Promise<Form>
  /** As `openExportedDisk`; all disks together keep some blocks in memory. */
  openDisk(manifest: string): Promise<ExportedDisk>
  /** The threads by which blocks are loaded. */
  readonly loader: BlockLoader
}

/** How long a reader of a disk waits for a store that is unavailable: longer than it takes to come back by itself. */
const PATIENCE_MS = 5000

/** Makes the one place through which a process writes and reads contents. */
export function createContentStore(options: ContentStoreOptions): OpenContentStore {
  const { store, spoolDirectory, keep } = options
  const pool = createBlockPool(options)
  const loader = poolLoader(pool)
  const patience = { patienceMs: PATIENCE_MS }
  const cache = new BlockCache({ loader, ...patience })
  const storing = { pool, store, spoolDirectory, keep }
  return {
    openWriter: ({ signal }) => openWriter(storing, signal),
    openEditor: (base, options) => openEditor({ ...storing, loader }, base, options),
    openReader: async (parts) =>
      openParts(parts, ({ manifest, form }) => openLayout(store, manifest, form, loader)),
    async measure(manifest, form) {
      await using layout = await openLayout(store, manifest, form, loader)
      return layout.size
    },
    openForm: (manifest, kind) => openForm(store, manifest, kind, loader),
    loader,
    openDisk: (manifest) => openExportedDisk({ manifests: store.manifests, cache, ...patience }, manifest),
    join: (parts) => joinParts(storing, parts),
    async [Symbol.asyncDispose]() {
      cache[Symbol.dispose]()
      await pool[Symbol.asyncDispose]()
    },
  }
}
