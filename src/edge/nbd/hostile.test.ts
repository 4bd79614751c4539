import assert from 'node:assert/strict'
import { lstatSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import type { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import {
  commandBytes,
  connectTo,
  diskOf,
  gather,
  greet,
  isClosed,
  MANIFEST,
  offerDisk,
  open,
  run,
  u32,
} from './nbd.fixtures.ts'
import { createOffer } from './offer.ts'
import { COMMAND, OPTION } from './protocol.ts'
import { startNbdService } from './service.ts'

const bytes = Buffer.alloc(50_000, 'abcdefg')
const log = { error: () => {} }

test('hostile: random bytes at any moment close that connection and no other', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  t.diagnostic(`seed ${seed}`)
  const random = createRandom(seed)
  const { connect, bugs, offer } = await offerDisk(t, diskOf(bytes))
  const noise = (length: number) => Buffer.from(Array.from({ length }, () => random.below(256)))
  const option = () =>
    Buffer.concat([
      Buffer.from('IHAVEOPT'),
      u32(random.below(12)),
      u32(random.below(40)),
      noise(random.below(48)),
    ])
  const command = () =>
    commandBytes({
      command: random.below(10),
      flags: random.chance(0.7) ? 0 : random.below(65_536),
      offset: random.chance(0.7) ? random.below(60_000) : BigInt(`0x${noise(8).toString('hex')}`),
      length: random.chance(0.7) ? random.below(60_000) : noise(4).readUInt32BE(0),
    })
  for (let round = 0; round < 150; round++) {
    using client = await connect()
    // Answers are of no interest.
    client.wire.release()
    client.socket.on('data', () => {}).resume()
    const packets = [u32(random.below(5)), option(), option()]
    if (random.chance(0.5)) {
      const go = Buffer.concat([u32(3), Buffer.from('IHAVEOPT'), u32(OPTION.go), u32(6), Buffer.alloc(6)])
      packets.splice(0, 3, go, ...Array.from({ length: random.below(10) }, command))
    }
    packets.push(noise(random.below(100)))
    await new Promise<void>((resolve) => client.socket.end(Buffer.concat(packets), resolve))
    if (!client.socket.closed) await new Promise((resolve) => client.socket.once('close', resolve))
  }
  using client = await connect()
  await open(client)
  const chunks = await run(client, { command: COMMAND.read, length: bytes.length })
  assert.ok(gather(chunks, 0, bytes.length).equals(bytes))
  assert.deepEqual(bugs, [])
  await offer[Symbol.asyncDispose]()
})

test('hostile: whoever does not come to the point is left, and so is who takes nothing', async () => {
  const big = diskOf(Buffer.alloc(8 << 20, 1), { status: async (_at, length) => [{ length, isZero: false }] })
  const exports = {
    list: () => [''],
    open: async () => ({ disk: big, [Symbol.asyncDispose]: async () => {} }),
  }
  await using service = await startNbdService({
    where: { host: '127.0.0.1', port: 0 },
    admit: () => ({ exports, [Symbol.dispose]: () => {} }),
    limits: { negotiationMs: 150, stallMs: 150 },
    log,
  })
  using slow = await connectTo(service)
  await greet(slow)
  assert.ok(await isClosed(slow))
  using reader = await connectTo(service)
  await open(reader)
  await reader.wire.send(
    ...Array.from({ length: 8 }, () => commandBytes({ command: COMMAND.read, length: 8 << 20 })),
  )
  // Nothing is read until the server has ended it.
  while (!(await hasEnded(reader.socket))) await new Promise((resolve) => setTimeout(resolve, 20))
})

/** A write to a connection that the other side has destroyed fails. */
const hasEnded = (socket: ReturnType<typeof connect>) =>
  new Promise<boolean>((resolve) =>
    socket.write(Buffer.alloc(1), (error) => resolve(error !== null && error !== undefined)),
  )

test('hostile: a hundred connections cost a block each and a few more', async (t) => {
  const block = Buffer.alloc(1 << 20, 1)
  let held = 0
  let most = 0
  const counting = diskOf(block, {
    status: async (_offset, length) => [{ length, isZero: false }],
    async *read() {
      most = Math.max(most, ++held)
      try {
        yield block
      } finally {
        held--
      }
    },
  })
  const { connect, offer } = await offerDisk(t, counting)
  const clients = await Promise.all(Array.from({ length: 100 }, connect))
  await Promise.all(clients.map((client) => open(client)))
  const commands = Array.from({ length: 16 }, () =>
    commandBytes({ command: COMMAND.read, length: block.length }),
  )
  await Promise.all(clients.map(({ wire }) => wire.send(...commands)))
  await Promise.all(clients.map(({ wire }) => wire.read(20)))
  assert.ok(most <= 164, `${most} blocks`)
  await offer[Symbol.asyncDispose]()
  assert.equal(held, 0)
  for (const client of clients) client[Symbol.dispose]()
})

test('offer: the socket is for its owner alone, replaces what was there, and goes', async (t) => {
  const { path, folder, offer } = await offerDisk(t, diskOf(bytes))
  const { mode } = lstatSync(path)
  assert.equal(mode & 0o7777, 0o600)
  assert.ok(lstatSync(path).isSocket())
  await offer[Symbol.asyncDispose]()
  assert.throws(() => lstatSync(path), /ENOENT/)

  await writeFile(path, 'stale')
  const make = createOffer({ openDisk: async () => diskOf(bytes), log })
  const again = await make({ path, manifest: MANIFEST, owner: undefined })
  using client = await connectTo({ path })
  await open(client)
  await again[Symbol.asyncDispose]()
  assert.ok(await isClosed(client))
  const long = join(folder, 'x'.repeat(100))
  await assert.rejects(make({ path: long, manifest: MANIFEST, owner: undefined }), /its path has \d+ bytes/)
  const nowhere = join(folder, 'no', 's')
  await assert.rejects(make({ path: nowhere, manifest: MANIFEST, owner: undefined }), { code: 'unavailable' })
})
