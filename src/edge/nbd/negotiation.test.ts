import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ask,
  contextData,
  diskOf,
  errorOf,
  gather,
  goData,
  greet,
  isClosed,
  MANIFEST,
  offerDisk,
  open,
  run,
  sendOption,
  u16,
  u32,
} from './nbd.fixtures.ts'
import { COMMAND, OPTION, REFUSED, REPLY } from './protocol.ts'

const SIZE = 100_000
const disk = () => diskOf(Buffer.alloc(SIZE, 7))

test('negotiation: the empty name and that of the manifest open the disk, others do not', async (t) => {
  const { connect } = await offerDisk(t, disk())
  for (const name of ['', MANIFEST]) {
    using client = await connect()
    const answers = await open(client, name)
    assert.deepEqual(
      answers.map(({ reply }) => reply),
      [REPLY.info, REPLY.info, REPLY.ack],
    )
    const [about, lengths] = answers
    assert.equal(about?.data.toString('hex'), '000000000000000186a00107')
    assert.equal(lengths?.data.toString('hex'), '0003000000010010000002000000')
    const chunks = await run(client, { command: COMMAND.read, offset: 99_990, length: 10 })
    assert.deepEqual(gather(chunks, 99_990, 10), Buffer.alloc(10, 7))
  }
  using client = await connect()
  const [refusal] = await open(client, 'other')
  assert.equal(refusal?.reply, REFUSED.unknown)
  assert.match(String(refusal?.data), /none of this name/)
  // Another try on the same connection is good.
  assert.equal((await ask(client, OPTION.go, goData(''))).at(-1)?.reply, REPLY.ack)
})

test('negotiation: an old client opens by name alone, with zeros after the answer or without', async (t) => {
  const { connect } = await offerDisk(t, disk())
  for (const [flags, length] of [
    [3, 10],
    [1, 134],
  ] as const) {
    using client = await connect()
    await greet(client, flags)
    await sendOption(client, OPTION.exportName)
    const answer = await client.wire.read(length)
    assert.equal(answer.readBigUInt64BE(0), BigInt(SIZE))
    assert.deepEqual(answer.subarray(10), Buffer.alloc(length - 10))
    await client.wire.send(Buffer.from('256095130000000000000000000000010000000000000000', 'hex'), u32(4))
    assert.equal(
      (await client.wire.read(20)).toString('hex'),
      `67446698000000000000000000000001${'07'.repeat(4)}`,
    )
  }
  using client = await connect()
  await greet(client)
  await sendOption(client, OPTION.exportName, Buffer.from('other'))
  assert.ok(await isClosed(client))
})

test('negotiation: the list names the one export', async (t) => {
  const { connect } = await offerDisk(t, disk())
  using client = await connect()
  await greet(client)
  assert.deepEqual(await ask(client, OPTION.list), [
    { reply: REPLY.server, data: u32(0) },
    { reply: REPLY.ack, data: Buffer.alloc(0) },
  ])
  assert.equal((await ask(client, OPTION.list, Buffer.from('x')))[0]?.reply, REFUSED.invalid)
})

test('negotiation: contexts come only to who has structured replies, for the export that he opens', async (t) => {
  const { connect } = await offerDisk(t, disk())
  using client = await connect()
  await greet(client)
  const queries = contextData('', 'base:allocation', 'qemu:dirty')
  assert.equal((await ask(client, OPTION.setMetaContext, queries))[0]?.reply, REFUSED.invalid)
  for (const all of [contextData(''), contextData('', 'base:')]) {
    const answers = await ask(client, OPTION.listMetaContext, all)
    assert.equal(answers[0]?.data.toString('latin1', 4), 'base:allocation')
  }
  assert.equal((await ask(client, OPTION.structuredReply, u16(1)))[0]?.reply, REFUSED.invalid)
  await ask(client, OPTION.structuredReply)
  const none = await ask(client, OPTION.setMetaContext, contextData('', 'qemu:dirty'))
  assert.deepEqual(
    none.map(({ reply }) => reply),
    [REPLY.ack],
  )
  assert.equal(
    (await ask(client, OPTION.setMetaContext, contextData('no', 'base:allocation')))[0]?.reply,
    REFUSED.unknown,
  )
  const set = await ask(client, OPTION.setMetaContext, contextData(MANIFEST, 'base:allocation'))
  assert.deepEqual(
    set.map(({ reply }) => reply),
    [REPLY.metaContext, REPLY.ack],
  )
  // It was set for another name.
  await ask(client, OPTION.go, goData(''))
  const chunks = await run(client, { command: COMMAND.blockStatus, length: SIZE })
  assert.equal(errorOf(chunks)[0], 22)
})

test('negotiation: information leaves the choice open; abort ends it', async (t) => {
  let opened = 0
  let closed = 0
  const closing = { [Symbol.asyncDispose]: async () => void closed++ }
  const { connect, offer } = await offerDisk(t, diskOf(Buffer.alloc(SIZE), closing))
  using client = await connect()
  await greet(client)
  assert.equal((await ask(client, OPTION.info, goData('')))?.length, 3)
  opened++
  assert.equal((await ask(client, OPTION.info, goData(MANIFEST)))?.length, 3)
  opened++
  assert.deepEqual(await ask(client, OPTION.abort), [{ reply: REPLY.ack, data: Buffer.alloc(0) }])
  assert.ok(await isClosed(client))
  await offer[Symbol.asyncDispose]()
  assert.equal(closed, opened)
})

test('negotiation: options that are not whole are refused, and others unknown', async (t) => {
  const { connect } = await offerDisk(t, disk())
  using client = await connect()
  await greet(client)
  await ask(client, OPTION.structuredReply)
  const broken = [
    Buffer.alloc(0),
    u32(5),
    Buffer.concat([u32(0), u16(3), u16(0)]),
    Buffer.concat([goData(''), u16(0)]),
    Buffer.concat([u32(2 ** 32 - 1), u16(0)]),
  ]
  for (const data of broken)
    assert.equal((await ask(client, OPTION.go, data))[0]?.reply, REFUSED.invalid, data.toString('hex'))
  for (const data of [
    u32(0),
    Buffer.concat([u32(0), u32(2 ** 32 - 1)]),
    Buffer.concat([u32(0), u32(1), u32(9)]),
  ])
    assert.equal((await ask(client, OPTION.setMetaContext, data))[0]?.reply, REFUSED.invalid)
  for (const option of [0, 4, 11, 99, OPTION.startTls])
    assert.equal((await ask(client, option))[0]?.reply, REFUSED.unsupported)
})

test('negotiation: a client that goes on and on is left', async (t) => {
  const { connect } = await offerDisk(t, disk())
  using client = await connect()
  await greet(client)
  for (let count = 0; count < 64; count++) await ask(client, OPTION.list)
  await client.wire.send(Buffer.alloc(1)).catch(() => {})
  assert.ok(await isClosed(client))
})

test('negotiation: what is not the protocol closes the connection', async (t) => {
  const { connect, bugs } = await offerDisk(t, disk())
  for (const bytes of [
    u32(0),
    u32(7),
    u32(2 ** 32 - 1),
    Buffer.concat([u32(3), Buffer.alloc(16)]),
    Buffer.concat([u32(3), Buffer.from('IHAVEOPT'), u32(OPTION.go), u32(16_385)]),
  ]) {
    using client = await connect()
    await client.wire.read(18)
    await client.wire.send(bytes)
    assert.ok(await isClosed(client), bytes.toString('hex'))
  }
  assert.deepEqual(bugs, [])
})
