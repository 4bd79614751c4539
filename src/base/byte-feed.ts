import type { ByteStream } from './bytes.ts'

const NOTHING = new Uint8Array(0)

/**
 * Reads a stream piece by piece, whatever the length of its chunks: look at what is at hand, ask for more, move on.
 * Chunks are copied only where what is asked for lies across two of them. For one reader at a time.
 */
export class ByteFeed {
  readonly #input: AsyncIterator<Uint8Array>
  readonly #signal: AbortSignal | undefined
  readonly #onAbort = () => this.#rejectWait?.(this.#signal?.reason)
  #rejectWait: ((reason: unknown) => void) | undefined
  /** What is at hand: bytes [#at, #end) of #bytes. */
  #bytes: Uint8Array = NOTHING
  #at = 0
  #end = 0
  /** Memory of our own, for bytes that lie across chunks. */
  #joined: Uint8Array = new Uint8Array(0)
  /** What follows it, the rest of the newest chunk. */
  #next: Uint8Array = NOTHING
  #ended = false
  #offset = 0

  /** @param signal ends a wait for the input with its reason */
  constructor(input: ByteStream, signal?: AbortSignal) {
    this.#input = input[Symbol.asyncIterator]()
    this.#signal = signal
    signal?.addEventListener('abort', this.#onAbort)
  }

  /** Count of the bytes passed by `advance` so far. */
  get offset(): number {
    return this.#offset
  }

  /** Count of the bytes at hand without waiting. */
  get buffered(): number {
    return this.#end - this.#at
  }

  /** The next byte; only where `buffered` is not 0. */
  get byte(): number {
    return this.#bytes[this.#at] ?? 0
  }

  /** The next `length` bytes, at most `buffered`; valid until the next `fill` or `readInto`. */
  view(length: number = this.buffered): Uint8Array {
    return this.#bytes.subarray(this.#at, Math.min(this.#at + length, this.#end))
  }

  /** Moves on by `length` bytes, at most `buffered`. */
  advance(length: number): void {
    this.#at += length
    this.#offset += length
    if (this.#at === this.#end && this.#next.length > 0) this.#show(this.#next)
  }

  /**
   * Waits until `length` bytes are at hand, in one piece.
   * @returns false where the input ended first: what there is, is at hand
   */
  async fill(length: number): Promise<boolean> {
    if (this.buffered === 0 && length > 0) {
      if (!(await this.#receive())) return false
      this.#show(this.#next)
    }
    while (this.buffered < length) {
      if (this.#next.length === 0) {
        // The chunk at hand is gone once the next one is asked for, so its rest moves first.
        this.#append(NOTHING)
        if (!(await this.#receive())) return false
      }
      const count = Math.min(length - this.buffered, this.#next.length)
      this.#append(this.#next.subarray(0, count))
      this.#next = this.#next.subarray(count)
    }
    return true
  }

  /**
   * Takes the next `target.length` bytes.
   * @returns the count taken, fewer only where the input ended first
   */
  async readInto(target: Uint8Array): Promise<number> {
    let have = 0
    while (have < target.length) {
      if (this.buffered === 0 && !(await this.fill(1))) break
      const piece = this.view(target.length - have)
      target.set(piece, have)
      have += piece.length
      this.advance(piece.length)
    }
    return have
  }

  /** Moves on by `length` bytes that nobody looks at; false where the input ended first. */
  async skip(length: number): Promise<boolean> {
    let left = length
    while (left > 0) {
      if (this.buffered === 0 && !(await this.fill(1))) return false
      const count = Math.min(left, this.buffered)
      this.advance(count)
      left -= count
    }
    return true
  }

  /** Lets go of the input, which may have more to give. Does not wait for an answer that is still on its way. */
  async close(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#onAbort)
    if (this.#ended) return
    this.#ended = true
    const returned = this.#input.return?.()
    if (this.#rejectWait) returned?.catch(() => {})
    else await returned
  }

  #show(chunk: Uint8Array): void {
    this.#bytes = chunk
    this.#at = 0
    this.#end = chunk.length
    this.#next = NOTHING
  }

  /** Puts a piece behind the bytes at hand, which move to memory of our own; room grows with what arrived. */
  #append(piece: Uint8Array): void {
    const have = this.buffered
    if (this.#bytes !== this.#joined || this.#end + piece.length > this.#joined.length) {
      const needed = have + piece.length
      const target =
        needed <= this.#joined.length / 2 ? this.#joined : new Uint8Array(Math.max(256, 4 * needed))
      target.set(this.view())
      this.#joined = target
      this.#bytes = target
      this.#at = 0
      this.#end = have
    }
    this.#bytes.set(piece, this.#end)
    this.#end += piece.length
  }

  /** Waits for the next chunk that is not empty; false at the end. */
  async #receive(): Promise<boolean> {
    while (!this.#ended) {
      this.#signal?.throwIfAborted()
      const { done, value } = await this.#askInput()
      if (done) this.#ended = true
      else if (value.length > 0) {
        this.#next = value
        return true
      }
    }
    return false
  }

  #askInput(): Promise<IteratorResult<Uint8Array>> {
    return new Promise((resolve, reject) => {
      // Set first: the input itself may be what aborts.
      this.#rejectWait = reject
      this.#input
        .next()
        .then(resolve, reject)
        .finally(() => {
          this.#rejectWait = undefined
        })
    })
  }
}
