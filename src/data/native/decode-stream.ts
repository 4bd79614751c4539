import type { Duplex } from 'node:stream'
import { ByteFeed } from '#base/byte-feed.ts'
import { type ByteStream, MiB } from '#base/bytes.ts'
import { boundOutput, type DecodeOptions } from '#data/format/decode-options.ts'
import { type Engine, EngineClosed, runEngine } from '#data/format/engine.ts'
import { Conversation } from './conversation.ts'
import { ANSWER_MS, faults } from './faults.ts'
import { MAX_FAILURE_SIZE, parseFailure, type StreamOrder, toJson } from './orders.ts'

/** A decoder sends 256 KiB at a time. */
const MAX_MESSAGE = MiB

interface StreamOptions extends Pick<DecodeOptions, 'signal'> {
  /** Gives the connection to a decoder process, which is closed afterwards. */
  readonly open: () => Duplex
  /** How long it may owe an answer, ms. */
  readonly answerMs?: number | undefined
}

/**
 * Decodes a compressed file in a process of its own, which takes nothing with it when it goes.
 * @throws what `decodeGzip` and `decodeZstd` throw; Error where the process is gone, silent, or says what it may not
 */
export async function* decodeStream(
  input: ByteStream,
  order: StreamOrder,
  options: StreamOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { open, signal, answerMs = ANSWER_MS } = options
  const feed = new ByteFeed(input, signal)
  const decoder = new Conversation(open())
  const onAbort = () => decoder.close(signal?.reason)
  signal?.addEventListener('abort', onAbort)
  const output = runEngine(openEngine(decoder, answerMs), async (engine) => {
    await engine.write(toJson(order))
    while (await feed.fill(1)) {
      const piece = feed.view()
      await engine.write(piece)
      feed.advance(piece.length)
    }
    await engine.end()
  })
  try {
    yield* boundOutput(output, { limit: order.limit, signal })
  } finally {
    signal?.removeEventListener('abort', onAbort)
    await feed.close()
  }
}

/** An engine whose first input is its order. */
function openEngine(decoder: Conversation, answerMs: number): Engine {
  let isOrdered = false
  let isClosed = false
  /** Who waits for the decoder: it owes nothing while its input is still to come or its output is not taken. */
  const waiting = { input: false, output: false }
  const timer = setTimeout(() => {
    if (waiting.input && waiting.output) decoder.close(faults.silent(answerMs))
    else timer.refresh()
  }, answerMs)

  async function send(kind: 'order' | 'data' | 'end', bytes: Uint8Array): Promise<void> {
    timer.refresh()
    waiting.input = true
    try {
      await decoder.send(kind, bytes)
    } catch (cause) {
      // Why it takes no more, its answer says.
      throw new EngineClosed(undefined, { cause })
    } finally {
      waiting.input = kind === 'end'
      timer.refresh()
    }
  }

  async function* output(): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      waiting.output = true
      const { kind, length } = await decoder.receive()
      if (kind === 'end') return
      if (kind === 'failed' && length <= MAX_FAILURE_SIZE) throw parseFailure(await decoder.body(length))
      if (kind !== 'data' || length > MAX_MESSAGE) throw faults.notAnAnswer()
      for await (const piece of decoder.pieces(length)) {
        waiting.output = false
        yield piece
        timer.refresh()
        waiting.output = true
      }
    }
  }

  return {
    write(bytes) {
      const kind = isOrdered ? 'data' : 'order'
      isOrdered = true
      return send(kind, bytes)
    },
    end: () => send('end', new Uint8Array(0)),
    output: output(),
    close() {
      if (isClosed) return
      isClosed = true
      clearTimeout(timer)
      decoder.close()
    },
  }
}
