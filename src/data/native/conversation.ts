import type { Duplex } from 'node:stream'
import { ByteFeed } from '#base/byte-feed.ts'
import { faults } from './faults.ts'
import { HEAD_SIZE, type Head, type MessageKind, parseHead, sendMessage } from './messages.ts'

/** One end of a connection between the decoder of a stream and its user. */
export class Conversation {
  readonly #stream: Duplex
  readonly #feed: ByteFeed
  #reason: unknown

  constructor(stream: Duplex) {
    this.#stream = stream
    this.#feed = new ByteFeed(stream)
    // Whoever reads or writes is told; this keeps an error between two waits from ending the thread.
    stream.on('error', () => {})
  }

  /** Resolves once the body's memory may change. */
  send(kind: MessageKind, ...parts: readonly Uint8Array[]): Promise<void> {
    return sendMessage(this.#stream, kind, ...parts)
  }

  /** The head of the next message, whose body is to be taken next. @throws Error where the other end is gone */
  async receive(): Promise<Head> {
    await this.#fill(HEAD_SIZE)
    const head = parseHead(this.#feed.view(HEAD_SIZE))
    this.#feed.advance(HEAD_SIZE)
    return head
  }

  /** A body as it comes; each piece is good until the next one is asked for. @throws as `receive` does */
  async *pieces(length: number): AsyncGenerator<Uint8Array, void, void> {
    let left = length
    while (left > 0) {
      await this.#fill(1)
      const piece = this.#feed.view(left)
      left -= piece.length
      yield piece
      this.#feed.advance(piece.length)
    }
  }

  /** A whole body, of a length that was compared with a limit. @throws as `receive` does */
  async body(length: number): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(length)
    let have = 0
    for await (const piece of this.pieces(length)) {
      bytes.set(piece, have)
      have += piece.length
    }
    return bytes
  }

  /** Takes what still comes until the other end is gone. */
  async drain(): Promise<void> {
    while (await this.#feed.fill(1)) this.#feed.advance(this.#feed.buffered)
  }

  /** Ends it at once; waits on either side end. @param reason what whoever waits to receive is told */
  close(reason?: unknown): void {
    this.#reason ??= reason
    this.#stream.destroy()
  }

  async #fill(length: number): Promise<void> {
    const filled = await this.#feed.fill(length).catch((cause: unknown) => {
      throw this.#reason ?? faults.gone(cause)
    })
    if (!filled) throw this.#reason ?? faults.gone()
  }
}
