import { createHash } from 'node:crypto'
import type { ByteStream } from '#base/bytes.ts'
import { Refusal } from '#base/refusal.ts'
import type { ProgressMeter } from './progress-meter.ts'

/** Counts and hashes a source's bytes as they pass: what a registration says it received. */
export class Receipt {
  bytes = 0
  readonly #sum = createHash('sha256')
  readonly #input: ByteStream
  readonly #meter: ProgressMeter

  constructor(input: ByteStream, meter: ProgressMeter) {
    this.#input = input
    this.#meter = meter
  }

  async *stream(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of this.#input) {
      if (this.bytes === 0) this.#meter.enter('receiving')
      this.#sum.update(chunk)
      this.bytes += chunk.length
      this.#meter.received = this.bytes
      yield chunk
    }
    this.#meter.enter('decoding')
  }

  /**
   * The SHA-256 of all bytes, once the stream has ended.
   * @param expected 64 hex digits, or undefined where anything will do
   * @throws checksum
   */
  finish(expected: string | undefined): string {
    const digest = this.#sum.digest('hex')
    if (expected === undefined || digest === expected.toLowerCase()) return digest
    throw new Refusal(
      'checksum',
      `The received bytes have the SHA-256 ${digest}, not the one that was asked for.`,
      {
        hint: 'Compare it with the publisher’s; if it is right, the bytes changed on their way or at their source.',
      },
    )
  }
}
