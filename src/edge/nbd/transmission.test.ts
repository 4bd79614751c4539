import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import {
  commandBytes,
  diskOf,
  errorOf,
  gather,
  isClosed,
  offerDisk,
  open,
  readChunk,
  run,
} from './nbd.fixtures.ts'
import { COMMAND, READ_MAX } from './protocol.ts'

/** 40 KiB of data, 24 KiB of zeros, and 1000 bytes more. */
const bytes = Buffer.concat([Buffer.alloc(40_960, 'abc'), Buffer.alloc(24_576), Buffer.alloc(1000, 'xyz')])
const SIZE = bytes.length
const { read, blockStatus } = COMMAND

test('transmission: structured reads give data and holes, simple ones all bytes', async (t) => {
  const { connect } = await offerDisk(t, diskOf(bytes))
  using client = await connect()
  await open(client)
  const chunks = await run(client, { command: read, cookie: 77, length: SIZE })
  assert.deepEqual([...new Set(chunks.map(({ cookie }) => cookie))], [77])
  assert.deepEqual(
    chunks.map(({ type }) => type),
    [1, 1, 1, 1, 1, 2, 1],
  )
  assert.deepEqual(gather(chunks, 0, SIZE), bytes)

  using simple = await connect()
  await open(simple, '', { structured: false })
  await simple.wire.send(commandBytes({ command: read, offset: 1, length: SIZE - 1 }))
  assert.equal((await simple.wire.read(16)).readUInt32BE(4), 0)
  assert.deepEqual(await simple.wire.read(SIZE - 1), bytes.subarray(1))
})

test('transmission: status says where zeros are, as a whole or one extent at a time', async (t) => {
  const { connect } = await offerDisk(t, diskOf(bytes))
  using client = await connect()
  await open(client)
  const status = async (offset: number, length: number, flags = 0) => {
    const [{ type, payload } = assert.fail()] = await run(client, {
      command: blockStatus,
      offset,
      length,
      flags,
    })
    assert.deepEqual([type, payload.readUInt32BE(0)], [5, 1])
    return Array.from({ length: (payload.length - 4) / 8 }, (_, n) => [
      payload.readUInt32BE(4 + 8 * n),
      payload.readUInt32BE(8 + 8 * n),
    ])
  }
  assert.deepEqual(await status(0, SIZE), [
    [40_960, 0],
    [24_576, 3],
    [1000, 0],
  ])
  assert.deepEqual(await status(0, SIZE, 8), [[40_960, 0]])
  assert.deepEqual(await status(50_000, 100), [[100, 3]])
})

test('transmission: what cannot be is refused, and the next command is answered', async (t) => {
  const { connect } = await offerDisk(t, diskOf(bytes))
  using client = await connect()
  await open(client)
  const refused = async (command: Parameters<typeof run>[1]) => errorOf(await run(client, command))[0]
  for (const command of [read, blockStatus]) {
    assert.equal(await refused({ command, length: 0 }), 22)
    assert.equal(await refused({ command, length: SIZE + 1 }), 22)
    assert.equal(await refused({ command, offset: SIZE, length: 1 }), 22)
    assert.equal(await refused({ command, offset: 2n ** 64n - 1n, length: 1 }), 22)
    assert.equal(await refused({ command, flags: 1, length: 1 }), 22)
  }
  assert.equal(await refused({ command: read, length: READ_MAX + 1 }), 22)
  for (const command of [COMMAND.trim, COMMAND.writeZeroes])
    assert.equal(await refused({ command, length: 1 }), 1)
  for (const command of [5, 8, 65_535]) assert.equal(await refused({ command }), 22)
  assert.equal((await run(client, { command: COMMAND.flush }))[0]?.type, 0)
})

test('transmission: what is to be written is passed over', async (t) => {
  const { connect } = await offerDisk(t, diskOf(bytes))
  for (const structured of [true, false]) {
    using client = await connect()
    await open(client, '', { structured })
    await client.wire.send(
      commandBytes({ command: COMMAND.write, length: 300_000 }),
      Buffer.alloc(300_000, 1),
    )
    if (structured) assert.deepEqual(errorOf([await readChunk(client)]), [1, 'this export is read-only'])
    else assert.equal((await client.wire.read(16)).readUInt32BE(4), 1)
  }
  using client = await connect()
  await open(client)
  await client.wire.send(commandBytes({ command: COMMAND.write, length: READ_MAX + 1 }))
  assert.ok(await isClosed(client))
})

test('transmission: replies come as they are ready', async (t) => {
  const first = Promise.withResolvers<void>()
  const disk = diskOf(bytes)
  const slow = diskOf(bytes, {
    async *read(offset, length, signal) {
      if (offset === 0) await first.promise
      yield* disk.read(offset, length, signal)
    },
  })
  const { connect } = await offerDisk(t, slow)
  using client = await connect()
  await open(client)
  await client.wire.send(
    commandBytes({ command: read, cookie: 1, length: 10 }),
    commandBytes({ command: read, cookie: 2, offset: 10, length: 10 }),
  )
  assert.equal((await readChunk(client)).cookie, 2)
  first.resolve()
  assert.equal((await readChunk(client)).cookie, 1)
})

test('transmission: a store that fails gives EIO and its reason, and later the bytes', async (t) => {
  let failure: Error | undefined = new LibraryError('corrupt', 'read block 12: its bytes have another digest')
  const disk = diskOf(bytes)
  const failing = diskOf(bytes, {
    async *read(offset, length, signal) {
      if (failure) throw failure
      yield* disk.read(offset, length, signal)
    },
  })
  const { connect, bugs } = await offerDisk(t, failing)
  using client = await connect()
  await open(client)
  const ten = { command: read, length: 10 }
  assert.deepEqual(errorOf(await run(client, ten)), [5, 'read block 12: its bytes have another digest'])
  failure = new Error('a secret of the program')
  assert.deepEqual(errorOf(await run(client, ten)), [5, 'internal error'])
  assert.equal(bugs.length, 1)
  failure = undefined
  assert.deepEqual(gather(await run(client, ten), 0, 10), bytes.subarray(0, 10))
})

test('transmission: a simple reply that cannot be finished ends the connection', async (t) => {
  const breaking = diskOf(bytes, {
    async *read() {
      yield bytes.subarray(0, 10)
      throw new LibraryError('corrupt', 'no more')
    },
  })
  const { connect } = await offerDisk(t, breaking)
  using client = await connect()
  await open(client, '', { structured: false })
  await client.wire.send(commandBytes({ command: read, length: 20 }))
  await client.wire.read(26)
  assert.ok(await isClosed(client))
})

test('transmission: a client that leaves ends what is read for it', async (t) => {
  const begun = Promise.withResolvers<AbortSignal>()
  const hanging = diskOf(bytes, {
    async *read(_offset, _length, signal) {
      begun.resolve(signal)
      await once(signal, 'abort')
      signal.throwIfAborted()
      yield bytes
    },
  })
  const { connect, offer } = await offerDisk(t, hanging)
  using client = await connect()
  await open(client)
  await client.wire.send(commandBytes({ command: read, length: 20 }))
  const signal = await begun.promise
  client.socket.destroy()
  if (!signal.aborted) await once(signal, 'abort')
  await offer[Symbol.asyncDispose]()
})

test('transmission: whoever takes no answers gets no more read for him', async (t) => {
  let reads = 0
  let atOnce = 0
  let most = 0
  const big = Buffer.alloc(1 << 20, 1)
  const counting = diskOf(big, {
    status: async (_offset, length) => [{ length, isZero: false }],
    async *read() {
      reads++
      most = Math.max(most, ++atOnce)
      try {
        yield big
      } finally {
        atOnce--
      }
    },
  })
  const { connect, offer } = await offerDisk(t, counting)
  using client = await connect()
  await open(client)
  const command = commandBytes({ command: read, length: big.length })
  await client.wire.send(Buffer.concat(Array.from({ length: 100 }, () => command)))
  for (let count = 0; count < 30; count++)
    assert.equal((await readChunk(client)).payload.length, big.length + 8)
  assert.ok(reads < 50, `${reads} reads`)
  assert.ok(most <= 16, `${most} at once`)
  await offer[Symbol.asyncDispose]()
  assert.equal(atOnce, 0)
})

test('transmission: taking leave lets what is under way end', async (t) => {
  const { connect } = await offerDisk(t, diskOf(bytes))
  using client = await connect()
  await open(client)
  await client.wire.send(
    commandBytes({ command: read, length: SIZE }),
    commandBytes({ command: COMMAND.disconnect }),
  )
  const chunks = []
  do chunks.push(await readChunk(client))
  while (!chunks.at(-1)?.isLast)
  assert.deepEqual(gather(chunks, 0, SIZE), bytes)
  assert.ok(await isClosed(client))
})
