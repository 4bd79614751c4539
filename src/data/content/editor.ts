import { hash } from 'node:crypto'
import type { Content, WrittenContent } from '#base/content.ts'
import { assert, LibraryError } from '#base/errors.ts'
import { BLOCK_SIZE, blockCount, blockLength } from '#data/block/block.ts'
import { type BlockLoader, loadPlain } from '#data/form/disk-blocks.ts'
import { type Layout, readPieces } from '#data/form/pieces.ts'
import { MAX_DISK_SIZE } from '#data/manifest/layout.ts'
import { openManifest } from '#data/manifest/manifest.ts'
import { ManifestWriter } from '#data/manifest/writer.ts'
import { BlockWindow } from './block-window.ts'
import { type ContentEditor, type EditorOptions, INLINE_MAX } from './content.ts'
import { EntryTable } from './entry-table.ts'
import { OrderedSum } from './ordered-sum.ts'
import { StoredContent, type StoringDeps } from './stored-content.ts'

/** After so long without a call, what was changed goes to the store: memory is for those who write. */
const IDLE_MS = 1_000

export interface EditorDeps extends StoringDeps {
  readonly loader: BlockLoader
}

/**
 * Opens an editor over a raw content.
 * @throws not_found, corrupt; invalid where the content has another form
 */
export async function openEditor(
  deps: EditorDeps,
  base: Content | undefined,
  options: EditorOptions,
): Promise<ContentEditor> {
  if (base?.kind !== 'manifest') {
    const editor = new Editor(deps, { ...options, entries: new EntryTable(undefined), size: 0 })
    if (base) await editor.write(0, base.bytes)
    return editor
  }
  if (base.form !== 'raw') throw new LibraryError('invalid', `edit an image as ${base.form}`)
  const manifest = await openManifest(deps.store.manifests, base.manifest)
  assert(manifest.diskSize === base.size, 'a content has the size of its manifest')
  return new Editor(deps, { ...options, entries: new EntryTable(manifest), size: base.size })
}

interface Edited extends EditorOptions {
  readonly entries: EntryTable
  readonly size: number
}

/** Calls run one after another: what is in memory is done at once, and what is not must be waited for anyway. */
class Editor implements ContentEditor {
  readonly #deps: EditorDeps
  readonly #signal: AbortSignal
  readonly #stored: StoredContent
  readonly #entries: EntryTable
  readonly #sum: OrderedSum
  readonly #window: BlockWindow
  readonly #idle: NodeJS.Timeout | undefined
  #size: number
  #last: Promise<unknown> = Promise.resolve()

  constructor(deps: EditorDeps, { entries, size, signal, holds = false, unsummed = false }: Edited) {
    const { pool } = deps
    this.#deps = deps
    this.#signal = signal
    this.#size = size
    this.#entries = entries
    this.#stored = new StoredContent(deps)
    this.#sum = new OrderedSum(pool, !unsummed)
    this.#window = new BlockWindow({ pool, stored: this.#stored, entries, sum: this.#sum, signal })
    // What it meets is met again by the next call.
    const flush = () => this.#next(() => this.#window.flush(this.#size)).catch(() => {})
    this.#idle = holds ? undefined : setTimeout(flush, IDLE_MS).unref()
  }

  get size(): number {
    return this.#size
  }

  /** Runs `work` after all that was asked for before. */
  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(() => {
      this.#signal.throwIfAborted()
      return work()
    })
    this.#last = done.catch(() => {})
    return done
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.#next(work)
    } finally {
      this.#idle?.refresh()
    }
  }

  write(offset: number, chunk: Uint8Array): Promise<void> {
    return this.#run(async () => {
      checkRange(offset, chunk.length)
      if (chunk.length === 0) return
      await this.#grow(offset + chunk.length)
      for (const { index, from, to, at } of blocksOf(offset, chunk.length))
        await this.#change(index, to - from, (bytes) => bytes.set(chunk.subarray(at, at + to - from), from))
    })
  }

  #change(index: number, count: number, write: (bytes: Uint8Array) => void): Promise<void> {
    return this.#window.change(index, { diskSize: this.#size, count }, write)
  }

  async #grow(size: number): Promise<void> {
    if (size > this.#size) await this.#resize(size, Math.floor(this.#size / BLOCK_SIZE), () => {})
  }

  /** Gives the disk another size. The block at its old or new end is another one then. */
  async #resize(size: number, index: number, change: (bytes: Uint8Array) => void): Promise<void> {
    const isCut = Math.min(size, this.#size) % BLOCK_SIZE > 0 && (await this.#hasData(index))
    if (isCut) await this.#window.bring(index, this.#size)
    this.#size = size
    if (isCut) await this.#change(index, 0, change)
  }

  async #hasData(index: number): Promise<boolean> {
    return this.#window.has(index) || (await this.#entries.get(index)) !== undefined
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    return this.#run(() => this.#read(offset, length))
  }

  async #read(offset: number, length: number): Promise<Uint8Array> {
    checkRange(offset, length)
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, this.#size - offset)))
    for (const { index, from, to, at } of blocksOf(offset, bytes.length)) {
      if (!(await this.#hasData(index))) continue
      bytes.set((await this.#window.read(index, this.#size)).subarray(from, to), at)
    }
    return bytes
  }

  truncate(size: number): Promise<void> {
    return this.#run(async () => {
      checkRange(size, 0)
      if (size >= this.#size) return await this.#grow(size)
      const end = Math.floor(size / BLOCK_SIZE)
      // First what can fail.
      if (size % BLOCK_SIZE > 0 && (await this.#hasData(end))) await this.#window.bring(end, this.#size)
      await this.#window.cut(blockCount(size))
      await this.#entries.cut(blockCount(size))
      await this.#resize(size, end, (bytes) => bytes.fill(0, size % BLOCK_SIZE, BLOCK_SIZE))
      this.#sum.changed(end)
    })
  }

  store(): Promise<Content> {
    return this.#run(() => this.#store())
  }

  finish(): Promise<WrittenContent> {
    return this.#run(async () => {
      const size = this.#size
      const content = await this.#store()
      if (content.kind === 'inline') return { content, size, md5: hash('md5', content.bytes, 'hex') }
      const summed = this.#sum.next * BLOCK_SIZE
      const rest = readPieces(this.#layout(), summed, size - summed, this.#signal)
      return { content, size, md5: await this.#sum.finish(rest, this.#signal) }
    })
  }

  async #store(): Promise<Content> {
    const size = this.#size
    if (size <= INLINE_MAX) return { kind: 'inline', bytes: await this.#read(0, size) }
    await this.#window.flush(size)
    await using manifest = new ManifestWriter({ directory: this.#deps.spoolDirectory })
    await this.#entries.copyTo(manifest)
    return await this.#stored.finish(manifest, size)
  }

  /** The disk as it is stored. */
  #layout(): Layout {
    const { loader } = this.#deps
    const size = this.#size
    const entries = this.#entries
    return {
      size,
      async *pieces(from) {
        for (let index = Math.floor(from / BLOCK_SIZE); index < blockCount(size); index++) {
          const { digest, storedLength = 0 } = (await entries.get(index)) ?? {}
          const block = { index, length: blockLength(size, index), digest, storedLength }
          const load = (signal: AbortSignal) => loadPlain(loader, block, signal)
          yield { offset: index * BLOCK_SIZE, length: block.length, load }
        }
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#idle)
    await this.#last
    clearTimeout(this.#idle)
    await this.#window[Symbol.asyncDispose]()
    this.#sum[Symbol.dispose]()
    await this.#entries[Symbol.asyncDispose]()
    await this.#stored[Symbol.asyncDispose]()
  }
}

function checkRange(offset: number, length: number): void {
  const fits = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0
  if (!fits || offset + length > MAX_DISK_SIZE)
    throw new LibraryError('too_large', `reach byte ${offset + length} of ${MAX_DISK_SIZE}`)
}

/** The blocks that a range touches: which bytes of each, and where they lie in the range. */
function* blocksOf(offset: number, length: number) {
  for (let at = 0; at < length; ) {
    const from = (offset + at) % BLOCK_SIZE
    const to = Math.min(BLOCK_SIZE, from + length - at)
    yield { index: Math.floor((offset + at) / BLOCK_SIZE), from, to, at }
    at += to - from
  }
}
