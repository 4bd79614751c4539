import type { Duplex } from 'node:stream'

/** The connection is over, or its client does not speak the protocol; whoever meets it closes the connection. */
export class Hangup extends Error {}

interface Wanted {
  readonly length: number
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

/** The right to write, until it is disposed of. */
export interface Turn extends Disposable {
  /**
   * Resolves once the system has taken all bytes, which must not change until then.
   * @throws Hangup
   */
  write(...pieces: readonly Uint8Array[]): Promise<void>
}

const SKIPPED = 64 * 1024

/**
 * The bytes of a connection, both ways. It reads no more than is asked for and a little, and nothing is written before
 * what was written last went out: a client that does not read its answers costs no memory.
 */
export class Wire {
  readonly #stream: Duplex
  readonly #stallMs: number | undefined
  readonly #chunks: Buffer[] = []
  #buffered = 0
  #wanted: Wanted | undefined
  #isOver = false
  #lastTurn: Promise<void> = Promise.resolve()
  readonly #onData = (chunk: Buffer) => this.#take(chunk)
  readonly #onOver = () => this.#end()

  /** @param stallMs how long the client may take nothing of what it asked for; undefined for no bound */
  constructor(stream: Duplex, stallMs: number | undefined) {
    this.#stream = stream
    this.#stallMs = stallMs
    this.#isOver = stream.destroyed
    stream.on('data', this.#onData).on('end', this.#onOver).on('close', this.#onOver).pause()
  }

  /** Lets go of the connection, for another that reads it. @returns whether no byte was read that nobody has seen */
  release(): boolean {
    this.#stream.off('data', this.#onData).off('end', this.#onOver).off('close', this.#onOver)
    return this.#buffered === 0
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#buffered += chunk.length
    if (this.#buffered < (this.#wanted?.length ?? 0)) return
    this.#stream.pause()
    this.#wanted?.resolve()
  }

  #end(): void {
    this.#isOver = true
    this.#wanted?.reject(new Hangup())
  }

  /** The next `length` bytes. For one reader at a time. @throws Hangup */
  async read(length: number): Promise<Buffer> {
    if (this.#buffered < length) {
      if (this.#isOver) throw new Hangup()
      const enough = Promise.withResolvers<void>()
      this.#wanted = { length, resolve: enough.resolve, reject: enough.reject }
      this.#stream.resume()
      try {
        await enough.promise
      } finally {
        this.#wanted = undefined
      }
    }
    return this.#cut(length)
  }

  #cut(length: number): Buffer {
    const [first = Buffer.alloc(0)] = this.#chunks
    const bytes = first.length < length ? Buffer.concat(this.#chunks) : first
    if (bytes === first) this.#chunks.shift()
    else this.#chunks.length = 0
    if (bytes.length > length) this.#chunks.unshift(bytes.subarray(length))
    this.#buffered -= length
    return bytes.subarray(0, length)
  }

  /** Passes over the next `length` bytes. @throws Hangup */
  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; left -= SKIPPED) await this.read(Math.min(left, SKIPPED))
  }

  /** Waits until nobody else writes, in order. */
  async turn(): Promise<Turn> {
    const before = this.#lastTurn
    const over = Promise.withResolvers<void>()
    this.#lastTurn = over.promise
    await before
    return { write: (...pieces) => this.#write(pieces), [Symbol.dispose]: () => over.resolve() }
  }

  /** Writes as soon as nobody else does. @throws Hangup */
  async send(...pieces: readonly Uint8Array[]): Promise<void> {
    using turn = await this.turn()
    await turn.write(...pieces)
  }

  async #write(pieces: readonly Uint8Array[]): Promise<void> {
    const stream = this.#stream
    if (this.#isOver || stream.destroyed) throw new Hangup()
    const out = Promise.withResolvers<void>()
    stream.cork()
    pieces.forEach((piece, index) => {
      const isLast = index === pieces.length - 1
      stream.write(piece, isLast ? (error) => (error ? out.reject(new Hangup()) : out.resolve()) : undefined)
    })
    stream.uncork()
    const timer = this.#stallMs === undefined ? undefined : setTimeout(() => stream.destroy(), this.#stallMs)
    try {
      await out.promise
    } finally {
      clearTimeout(timer)
    }
  }
}
