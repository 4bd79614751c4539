import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { LibraryError } from '#base/errors.ts'
import { noise } from '#data/format/qcow2/qcow2.fixtures.ts'
import { exportsOfOne } from '#edge/nbd/exports.ts'
import { commandBytes, contextData, diskOf, goData, u32 } from '#edge/nbd/nbd.fixtures.ts'
import { negotiate } from '#edge/nbd/negotiation.ts'
import { COMMAND, OPTION } from '#edge/nbd/protocol.ts'
import { Budget, transmit } from '#edge/nbd/transmission.ts'
import { Hangup, Wire } from '#edge/nbd/wire.ts'
import { inChunks } from '../support/compressed-streams.ts'
import { below, pick } from './mutation.ts'
import type { Field, Random, Target } from './target.ts'

const DISK = 50_000
/** What a client's replies may come to, for inputs of this size. */
const MOST_REPLIES = 64 << 20

function option(code: number, data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from('IHAVEOPT'), u32(code), u32(data.length), data])
}

function makeClient(random: Random): Buffer {
  const name = pick(['', 'disk', 'x'.repeat(300)], random)
  const options = [
    () => option(OPTION.list, Buffer.alloc(0)),
    () => option(OPTION.structuredReply, Buffer.alloc(0)),
    () => option(OPTION.info, goData(name)),
    () => option(OPTION.listMetaContext, contextData(name)),
    () => option(OPTION.setMetaContext, contextData(name, 'base:allocation', 'base:')),
    () => option(OPTION.startTls, Buffer.alloc(0)),
    () => option(below(20, random), noise(below(50, random), 1)),
  ]
  const last = pick(
    [() => option(OPTION.go, goData('')), () => option(OPTION.exportName, Buffer.alloc(0))],
    random,
  )
  const command = () =>
    commandBytes({
      command: pick(Object.values(COMMAND), random),
      flags: below(16, random),
      offset: below(DISK + 10, random),
      length: below(DISK, random),
    })
  return Buffer.concat([
    u32(below(4, random)),
    ...Array.from({ length: below(6, random) }, () => pick(options, random)()),
    last(),
    ...Array.from({ length: below(12, random) }, command),
  ])
}

/** Serves one client that says what the input has and then leaves. */
async function serve(input: Uint8Array, random: Random): Promise<void> {
  const [near, far] = duplexPair()
  const gone = new AbortController()
  const bugs: unknown[] = []
  const onBug = (error: unknown) => void bugs.push(error)
  let replies = 0
  far
    .on('error', () => {})
    .on('data', (chunk: Buffer) => {
      replies += chunk.length
    })
  near
    .on('error', () => {})
    .once('close', () => gone.abort(new LibraryError('unavailable', 'the client is gone')))
  const disk = diskOf(Buffer.from(noise(DISK, 3)).fill(0, 10_000, 30_000))
  const exports = exportsOfOne(['', 'disk'], async () => ({ disk, [Symbol.asyncDispose]: async () => {} }))
  const speak = async () => {
    for await (const chunk of inChunks(input, () => 1 + below(400, random))) far.write(Buffer.from(chunk))
    far.end()
  }
  try {
    const speaking = speak()
    await using terms = await negotiate({ wire: new Wire(near, 1000), exports, startTls: undefined, onBug })
    const hangUp = () => void near.destroy()
    await transmit({ terms, budget: new Budget(4), signal: gone.signal, hangUp, onBug })
    await speaking
  } finally {
    near.destroy()
    far.destroy()
    assert.deepEqual(bugs, [], 'it calls something a bug')
    assert.ok(replies <= MOST_REPLIES, `${replies} bytes of replies`)
  }
}

export const nbdTarget: Target = {
  name: 'nbd',
  seeds: () => [0.1, 0.3, 0.5, 0.6, 0.8, 0.95].map((share) => makeClient(() => share)),
  make: makeClient,
  fields: (input) =>
    Array.from(
      { length: Math.min(60, input.length >> 2) },
      (_, word): Field => ({ at: word * 4, size: 4, littleEndian: false }),
    ),
  async read(input, random) {
    // How far it came is a race between its leave and its answers.
    await serve(input, random).catch((error: unknown) => {
      if (!(error instanceof Hangup)) throw error
    })
    return Buffer.from('over')
  },
}
