import type { OnReadOpts, Socket } from 'node:net'
import { type Batch, CONSUMED_SIZE, parseConsumed, printBatch } from './batch.ts'
import { ANSWER_MS, faults } from './faults.ts'
import { HEAD_SIZE, parseHead, sendMessage } from './messages.ts'
import { type DecodeOrder, toJson } from './orders.ts'

/**
 * Where the clusters of a batch are to lie, one behind the other: all together as long as they are. Until the answer
 * is there, their bytes are whatever the decoder likes.
 */
type Places = readonly Uint8Array[]

/**
 * Decodes batches of compressed clusters in a process of its own, which is started with the first one, and is there
 * until the thread ends that uses it. For one batch at a time.
 * @param open gives the connection to a decoder process, which is read as it is told
 * @param answerMs how long it may owe an answer, ms
 * @returns a function that gives how many bytes each cluster took of its input, 0 from the first bad one on; it throws
 *   Error where the process is gone, silent, or says what it may not
 */
export function createClusterDecoder(
  open: (onread: OnReadOpts) => Socket,
  answerMs = ANSWER_MS,
): (batch: Batch, places: Places) => Promise<readonly number[]> {
  let started: Decoder | undefined
  return async (batch, places) => {
    started ??= new Decoder(open)
    const decoder = started
    const consumed = new Uint8Array(batch.inputs.length * CONSUMED_SIZE)
    const timer = setTimeout(() => decoder.close(faults.silent(answerMs)), answerMs)
    try {
      await decoder.ask(printBatch(batch), [...places, consumed])
    } finally {
      clearTimeout(timer)
    }
    return parseConsumed(consumed, batch)
  }
}

/** One whose answers are read straight to where they are wanted, in pieces as large as the system has them. */
class Decoder {
  readonly #socket: Socket
  readonly #head = new Uint8Array(HEAD_SIZE)
  /** What is still to be filled, in order; the last of it is being filled by the system, also while nobody waits. */
  #toFill: Uint8Array[] = [this.#head]
  #answer: PromiseWithResolvers<void> | undefined
  #places: readonly Uint8Array[] = []
  #reason: unknown

  constructor(open: (onread: OnReadOpts) => Socket) {
    const order: DecodeOrder = { kind: 'clusters' }
    this.#socket = open({
      buffer: () => this.#toFill[0] ?? this.#head,
      callback: (count) => {
        this.#filled(count)
        return true
      },
    })
    this.#socket.on('error', (error) => this.close(faults.gone(error)))
    this.#socket.on('close', () => this.close(faults.gone()))
    sendMessage(this.#socket, 'order', toJson(order)).catch(() => {})
  }

  /** Resolves when all places are filled with the answer. */
  async ask(parts: readonly Uint8Array[], places: readonly Uint8Array[]): Promise<void> {
    if (this.#reason) throw this.#reason
    const answer = Promise.withResolvers<void>()
    this.#answer = answer
    this.#places = places
    const sending = sendMessage(this.#socket, 'data', ...parts).catch(() => this.close(faults.gone()))
    await answer.promise
    await sending
    if (this.#reason) throw this.#reason
  }

  close(reason: unknown): void {
    this.#reason ??= reason
    this.#answer?.reject(this.#reason)
    this.#socket.destroy()
  }

  /** So many bytes came for the first of what is to be filled. */
  #filled(count: number): void {
    const [first = this.#head, ...others] = this.#toFill
    if (count < first.length) {
      this.#toFill = [first.subarray(count), ...others]
      return
    }
    const isHead = first.buffer === this.#head.buffer
    if (isHead) this.#begin()
    else this.#toFill = others
    if (this.#toFill.length > 0) return
    this.#toFill = [this.#head]
    this.#answer?.resolve()
    this.#answer = undefined
  }

  #begin(): void {
    const { kind, length } = parseHead(this.#head)
    const expected = this.#places.reduce((sum, place) => sum + place.length, 0)
    if (this.#answer && kind === 'data' && length === expected) this.#toFill = [...this.#places]
    else this.close(faults.notAnAnswer())
  }
}
