import { hash } from 'node:crypto'
import type { WrittenContent } from '#base/content.ts'
import { assert } from '#base/errors.ts'
import { orAbort } from '#base/or-abort.ts'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { ManifestWriter } from '#data/manifest/writer.ts'
import type { RunningMd5, Slot } from '#data/pool/block-pool.ts'
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
  #slot: Slot | undefined
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
      this.#slot ??= await this.#deps.pool.acquire(this.#signal)
      const count = Math.min(BLOCK_SIZE - this.#filled, chunk.length - taken)
      this.#slot.bytes.set(chunk.subarray(taken, taken + count), this.#filled)
      this.#filled += count
      taken += count
      if (this.#filled === BLOCK_SIZE) await this.#submit()
    }
  }

  /** Hands the block over; resolves when there is room for another. */
  async #submit(): Promise<void> {
    const slot = this.#slot
    assert(slot, 'a block that is submitted has bytes')
    const done = this.#keep(slot, this.#submitted++, this.#filled)
    this.#slot = undefined
    this.#filled = 0
    this.#inFlight.add(done)
    void done.then(() => this.#inFlight.delete(done))
    if (this.#inFlight.size >= IN_FLIGHT) await orAbort(Promise.race(this.#inFlight), this.#signal)
    if (this.#failure) throw this.#failure.reason
  }

  /** Never rejects. */
  async #keep(slot: Slot, index: number, length: number): Promise<void> {
    const storing = this.#stored.put(slot, length)
    const [stored, summed] = await Promise.allSettled([storing, this.#md5.update(slot, length)])
    slot[Symbol.dispose]()
    try {
      if (stored.status === 'rejected') throw stored.reason
      if (summed.status === 'rejected') throw summed.reason
      if (stored.value) await this.#manifest.set(index, stored.value.digest, stored.value.storedLength)
    } catch (reason) {
      this.#failure ??= { reason }
    }
  }

  async finish(size: number): Promise<WrittenContent> {
    if (this.#slot) await this.#submit()
    await orAbort(Promise.all(this.#inFlight), this.#signal)
    if (this.#failure) throw this.#failure.reason
    const [content, md5] = await Promise.all([this.#stored.finish(this.#manifest, size), this.#md5.digest()])
    return { content, size, md5 }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#inFlight)
    this.#slot?.[Symbol.dispose]()
    this.#slot = undefined
    this.#md5[Symbol.dispose]()
    await this.#manifest[Symbol.asyncDispose]()
    await this.#stored[Symbol.asyncDispose]()
  }
}
