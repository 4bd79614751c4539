/** The thread of a decoder process that decodes: one stream, or batches of clusters until its user is gone. */
import { once } from 'node:events'
import { Socket } from 'node:net'
import { parentPort } from 'node:worker_threads'
import type { ByteStream } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'
import { decodeGzip } from '#data/format/gzip/decode.ts'
import { decodeZstd } from '#data/format/zstd/decode.ts'
import { decodeBatch } from './batch.ts'
import { Conversation } from './conversation.ts'
import { type DecodeOrder, printFailure, type StreamOrder } from './orders.ts'
import { CONNECTION } from './process-facts.ts'

// Nothing is read before this process has no rights any more.
assert(parentPort, 'the decoding thread is a worker thread')
parentPort.postMessage('ready')
await once(parentPort, 'message')

const user = new Conversation(new Socket({ fd: CONNECTION }))

async function* incoming(): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    const { kind, length } = await user.receive()
    if (kind === 'end') return
    yield* user.pieces(length)
  }
}

const decode = (order: StreamOrder, input: ByteStream) =>
  order.kind === 'gzip' ? decodeGzip(input, order) : decodeZstd(input, order)

/** One chunk is sent while the next one is decoded; zlib and zstd give each its own memory. */
async function decodeStream(order: StreamOrder): Promise<void> {
  let sent = Promise.resolve()
  for await (const chunk of decode(order, incoming())) {
    await sent
    sent = user.send('data', chunk)
    // It is met with the next chunk; until then it must not count as unhandled.
    sent.catch(() => {})
  }
  await sent
  await user.send('end')
}

async function decodeClusters(): Promise<never> {
  for (;;) {
    const { length } = await user.receive()
    await user.send('data', ...decodeBatch(await user.body(length)))
  }
}

try {
  const { length } = await user.receive()
  const order = JSON.parse(Buffer.from(await user.body(length)).toString()) as DecodeOrder
  await (order.kind === 'clusters' ? decodeClusters() : decodeStream(order))
} catch (error) {
  // Where its user is gone, nobody hears it.
  await user.send('failed', printFailure(error)).catch(() => {})
}
// A connection that is closed on what nobody has read may lose what was sent.
await user.drain().catch(() => {})
