import type { ContentReader } from '#data/content/content.ts'
import type { Outlet } from './outlet.ts'
import { DataReply, STATUS, statusReply } from './wire.ts'

/** Bytes for which the memory of a large reply would be too much. */
const SMALL = 16 * 1024

interface Wanted {
  readonly id: number
  readonly offset: number
  readonly length: number
  /** Set once its first bytes are there. */
  reply: DataReply | undefined
}

export interface ReadHandleDeps {
  readonly reader: ContentReader
  readonly outlet: Outlet
  /** Tells the client of a request that failed. */
  readonly onFailure: (id: number, error: unknown) => void
  readonly signal: AbortSignal
}

/**
 * Answers reads of one file, many of which are on their way at once. There is one place in the content that is being
 * read: requests that lie in the chunk at hand are answered from it, whatever their order; then those go on that
 * follow it; and only where nothing does, the place moves. A client that reads in order has one long read of it.
 */
export class ReadHandle {
  readonly size: number
  readonly #deps: ReadHandleDeps
  readonly #wanted: Wanted[] = []
  #chunks: AsyncGenerator<Uint8Array> | undefined
  #chunk: Uint8Array = new Uint8Array(0)
  /** Where the chunk at hand begins. */
  #at = 0
  #running: Promise<void> | undefined

  constructor(deps: ReadHandleDeps) {
    this.#deps = deps
    this.size = deps.reader.size
  }

  read(id: number, offset: number, length: number): void {
    const count = Math.min(length, this.size - offset)
    if (count <= 0) {
      // Of an empty read nothing is at the end, but nobody sends one.
      this.#deps.outlet.send(statusReply(id, STATUS.eof, 'End of file'))
      return
    }
    this.#wanted.push({ id, offset, length: count, reply: undefined })
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  /** Resolves once every read is answered. */
  async settle(): Promise<void> {
    await this.#running
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wanted.length = 0
    await this.#running
    await this.#chunks?.return(undefined)
    await this.#deps.reader[Symbol.asyncDispose]()
  }

  async #run(): Promise<void> {
    const { outlet, onFailure } = this.#deps
    // Requests that arrive together are looked at together.
    await Promise.resolve()
    while (this.#wanted.length > 0) {
      try {
        this.#answerFromChunk()
        if (outlet.isFull()) await outlet.whenRoom()
        if (this.#wanted.length > 0) await this.#load()
      } catch (error) {
        // The place is lost, and the client decides whether to ask again.
        this.#chunks = undefined
        this.#chunk = new Uint8Array(0)
        for (const { id } of this.#wanted.splice(0)) onFailure(id, error)
      }
    }
  }

  /** Copies whatever is wanted of the chunk at hand. */
  #answerFromChunk(): void {
    const end = this.#at + this.#chunk.length
    let kept = 0
    for (const wanted of this.#wanted) {
      const from = wanted.offset + (wanted.reply?.filled ?? 0)
      if (from >= this.#at && from < end) {
        wanted.reply ??= new DataReply(wanted.id, wanted.length, this.#memoryFor(wanted.length))
        const start = from - this.#at
        wanted.reply.add(this.#chunk.subarray(start, start + wanted.reply.missing))
        if (wanted.reply.missing === 0) {
          this.#deps.outlet.send(wanted.reply.finish())
          continue
        }
      }
      this.#wanted[kept++] = wanted
    }
    this.#wanted.length = kept
  }

  /** Few clients read little, and then often. */
  #memoryFor(length: number): Buffer<ArrayBuffer> | undefined {
    return length >= SMALL ? this.#deps.outlet.takeMemory() : undefined
  }

  /** Moves on to the next chunk, or to where the oldest request begins. */
  async #load(): Promise<void> {
    const { reader, signal } = this.#deps
    const next = this.#at + this.#chunk.length
    const positions = this.#wanted.map(({ offset, reply }) => offset + (reply?.filled ?? 0))
    const oldest = positions[0] ?? 0
    if (!this.#chunks || !positions.includes(next)) {
      await this.#chunks?.return(undefined)
      this.#chunks = reader.read(oldest, this.size - oldest, signal)
      this.#at = oldest
    } else {
      this.#at = next
    }
    this.#chunk = new Uint8Array(0)
    const { done, value } = await this.#chunks.next()
    if (done) throw new Error(`internal error: the content ended at ${this.#at} of ${this.size} bytes`)
    this.#chunk = value
  }
}
