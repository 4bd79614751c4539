import { hash } from 'node:crypto'
import type { WrittenContent } from '#base/content.ts'
import { assert } from '#base/errors.ts'
import { orAbort } from '#base/or-abort.ts'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { ManifestWriter } from '#data/manifest/writer.ts'
import type { Room } from '#data/pool/block-pool.ts'
import type { RunningMd5 } from '#data/pool/running-md5.ts'
import { type ContentWriter, INLINE_MAX } from './content.ts'
import { StoredContent, type StoringDeps } from './stored-content.ts'

/** Blocks of one writer that are being stored while it fills another. */
const IN_FLIGHT = 3

/** Opens a writer that keeps a few bytes to itself, and stores more in blocks as they fill. */
export function openWriter(deps: StoringDeps, signal: AbortSignal): ContentWriter {
  return new Writer(deps, signal)
}

class Writer implements ContentWriter {
  readonly #deps: StoringDeps
  readonly #signal: AbortSignal
  /** All bytes so far, while they are few. */
  #inline: Uint8Array[] | undefined = []
  #size = 0
  #blocks: BlockSequence | undefined

  constructor(deps: StoringDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = signal
  }

  get size(): number {
    return this.#size
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#signal.throwIfAborted()
    this.#size += chunk.length
    if (this.#inline && this.#size <= INLINE_MAX) {
      this.#inline.push(new Uint8Array(chunk))
      return
    }
    this.#blocks ??= new BlockSequence(this.#deps, this.#signal)
    const before = this.#inline ?? []
    this.#inline = undefined
    for (const bytes of before) await this.#blocks.append(bytes)
    await this.#blocks.append(chunk)
  }

  async finish(): Promise<WrittenContent> {
    this.#signal.throwIfAborted()
    if (this.#blocks) return await this.#blocks.finish(this.#size)
    const bytes = this.#inline?.length === 1 ? this.#inline[0] : Buffer.concat(this.#inline ?? [])
    assert(bytes, 'a content without blocks is inline')
    return { content: { kind: 'inline', bytes }, size: bytes.length, md5: hash('md5', bytes, 'hex') }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#blocks?.[Symbol.asyncDispose]()
  }
}

/** Bytes that come in order, on their way into blocks; the MD5 of all of them is made on another thread meanwhile. */
class BlockSequence implements AsyncDisposable {
  readonly #deps: StoringDeps
  readonly #signal: AbortSignal
  readonly #stored: StoredContent
  readonly #manifest: ManifestWriter
  readonly #md5: RunningMd5
  readonly #inFlight = new Set<Promise<void>>()
  #room: Room | undefined
  #filled = 0
  #submitted = 0
  #failure: { readonly reason: unknown } | undefined

  constructor(deps: StoringDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = signal
    this.#stored = new StoredContent(deps)
    this.#manifest = new ManifestWriter({ directory: deps.spoolDirectory })
    this.#md5 = deps.pool.startMd5()
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let taken = 0; taken < chunk.length; ) {
      this.#room ??= this.#deps.pool.room()
      const count = Math.min(BLOCK_SIZE - this.#filled, chunk.length - taken)
      this.#room.bytes.set(chunk.subarray(taken, taken + count), this.#filled)
      this.#filled += count
      taken += count
      if (this.#filled === BLOCK_SIZE) await this.#submit()
    }
  }

  /** Hands the block over; resolves when there is room for another. */
  async #submit(): Promise<void> {
    const room = this.#room
    assert(room, 'a block that is submitted has bytes')
    const done = this.#keep(room, this.#submitted++, this.#filled)
    this.#room = undefined
    this.#filled = 0
    this.#inFlight.add(done)
    void done.then(() => this.#inFlight.delete(done))
    const most = () => (this.#deps.pool.isBusy ? 1 : IN_FLIGHT)
    while (this.#inFlight.size >= most()) await orAbort(Promise.race(this.#inFlight), this.#signal)
    if (this.#failure) throw this.#failure.reason
  }

  /** Never rejects. */
  async #keep(room: Room, index: number, length: number): Promise<void> {
    try {
      using bytes = room
      const block = await this.#stored.put({ room: bytes, length }, { signal: this.#signal, md5: this.#md5 })
      if (block) await this.#manifest.set(index, block.digest, block.storedLength)
    } catch (reason) {
      this.#failure ??= { reason }
    }
  }

  async finish(size: number): Promise<WrittenContent> {
    if (this.#room) await this.#submit()
    await orAbort(Promise.all(this.#inFlight), this.#signal)
    if (this.#failure) throw this.#failure.reason
    const [content, md5] = await Promise.all([this.#stored.finish(this.#manifest, size), this.#md5.digest()])
    return { content, size, md5 }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#inFlight)
    this.#room?.[Symbol.dispose]()
    this.#room = undefined
    this.#md5[Symbol.dispose]()
    await this.#manifest[Symbol.asyncDispose]()
    await this.#stored[Symbol.asyncDispose]()
  }
}
