import { decompressStream, decompressSync } from '@napi-rs/lzma/xz'
import { KiB } from '#base/bytes.ts'
import { type Engine, EngineClosed } from '../engine.ts'

/** What the decoder said is wrong with the bytes; its words, not ours. */
export class LzmaFault extends Error {
  /** Whether the data could be decoded and only its check is wrong. */
  get isChecksum(): boolean {
    return /checksum/i.test(this.message)
  }
}

/** Input goes to the decoder's thread in pieces of this size. */
const PIECE_SIZE = 128 * KiB

/**
 * Decodes one small xz stream.
 * @throws LzmaFault
 */
export function decodeLzmaAtOnce(bytes: Uint8Array): Uint8Array {
  try {
    return decompressSync(bytes)
  } catch (error) {
    throw toFault(error)
  }
}

/** Opens a decoder of one xz stream; it runs in a thread of its own. Its output throws LzmaFault. */
export function openLzmaEngine(): Engine {
  let closed = false
  let wake: (() => void) | undefined
  let input: ReadableStreamDefaultController<Uint8Array> | undefined
  const stop = () => {
    closed = true
    wake?.()
  }
  const source = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        input = controller
      },
      pull: () => wake?.(),
      cancel: stop,
    },
    { highWaterMark: 1 },
  )
  const reader = decompressStream(source).getReader()
  let piece = Buffer.allocUnsafeSlow(PIECE_SIZE)
  let filled = 0

  async function flush(): Promise<void> {
    while (!closed && (input?.desiredSize ?? 0) <= 0) await new Promise<void>((resolve) => (wake = resolve))
    if (closed) throw new EngineClosed()
    input?.enqueue(piece.subarray(0, filled))
    piece = Buffer.allocUnsafeSlow(PIECE_SIZE)
    filled = 0
  }

  return {
    async write(bytes) {
      for (let taken = 0; taken < bytes.length; ) {
        const part = bytes.subarray(taken, taken + PIECE_SIZE - filled)
        piece.set(part, filled)
        filled += part.length
        taken += part.length
        if (filled === PIECE_SIZE) await flush()
      }
    },
    async end() {
      if (filled > 0) await flush()
      closed = true
      input?.close()
    },
    output: readAll(reader),
    close() {
      // Its input ends first: a decoder that waits for input when its output is cancelled keeps its thread.
      if (!closed) input?.close()
      stop()
      reader.cancel().catch(() => {})
    },
  }
}

async function* readAll(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    const next = await reader.read().catch((error: unknown) => {
      throw toFault(error)
    })
    if (next.done) return
    yield next.value
  }
}

function toFault(cause: unknown): LzmaFault {
  return new LzmaFault(cause instanceof Error ? cause.message : 'unknown', { cause })
}
