/** The thread of a decoder process that decodes: one stream, or batches of clusters until its user is gone. */
import { once } from 'node:events'
import { Socket } from 'node:net'
import { parentPort } from 'node:worker_threads'
import type { ByteStream } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'
import { decodeGzip } from '#data/format/gzip/decode.ts'
import { decodeZstd } from '#data/format/zstd/decode.ts'
import { decodeBatch } from './batch.ts'
import { readFully, writeFully } from './blocking.ts'
import { Conversation } from './conversation.ts'
import { HEAD_SIZE, parseHead, printHead } from './messages.ts'
import { type DecodeOrder, printFailure, type StreamOrder } from './orders.ts'
import { CONNECTION } from './process-facts.ts'
import { reusedMemory } from './reused-memory.ts'

// Nothing is read before this process has no rights any more.
assert(parentPort, 'the decoding thread is a worker thread')
parentPort.postMessage('ready')
await once(parentPort, 'message')

const input = reusedMemory()
const output = reusedMemory()

/** Waits for a whole message. */
const readBody = () => readFully(input(parseHead(readFully(new Uint8Array(HEAD_SIZE))).length))

/** Nobody is kept from anything meanwhile, so it waits in calls: streams of Node cost as much as a third of zlib. */
function decodeClusters(): never {
  for (;;) {
    const answer = decodeBatch(readBody(), output)
    writeFully(printHead('data', answer.length))
    writeFully(answer)
  }
}

async function* incoming(user: Conversation): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    const { kind, length } = await user.receive()
    if (kind === 'end') return
    yield* user.pieces(length)
  }
}

const decode = (order: StreamOrder, bytes: ByteStream) =>
  order.kind === 'gzip' ? decodeGzip(bytes, order) : decodeZstd(bytes, order)

/** One chunk is sent while the next one is decoded; zlib and zstd give each its own memory. */
async function sendDecoded(order: StreamOrder, user: Conversation): Promise<void> {
  let sent = Promise.resolve()
  for await (const chunk of decode(order, incoming(user))) {
    await sent
    sent = user.send('data', chunk)
    // It is met with the next chunk; until then it must not count as unhandled.
    sent.catch(() => {})
  }
  await sent
  await user.send('end')
}

async function decodeStream(order: StreamOrder): Promise<void> {
  const user = new Conversation(new Socket({ fd: CONNECTION }))
  try {
    await sendDecoded(order, user)
  } catch (error) {
    // Where its user is gone, nobody hears it.
    await user.send('failed', printFailure(error)).catch(() => {})
  }
  // A connection that is closed on what nobody has read may lose what was sent.
  await user.drain().catch(() => {})
}

const order = JSON.parse(Buffer.from(readBody()).toString()) as DecodeOrder
await (order.kind === 'clusters' ? decodeClusters() : decodeStream(order))
