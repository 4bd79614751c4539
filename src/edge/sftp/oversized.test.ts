import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createUploadSeats } from '#control/library/upload-seats.ts'
import { exampleBytes } from '#data/content/content.fixtures.ts'
import { CREATE, NOTHING, openFixture, text } from './sftp.fixtures.ts'
import { MalformedPacket, OPEN, PACKET_MAX, REQUEST, STATUS, uint32Field, uint64Fields } from './wire.ts'

const FIELD_MAX = 200_000
const REFUSALS: readonly number[] = [
  STATUS.noSuchFile,
  STATUS.permissionDenied,
  STATUS.failure,
  STATUS.badMessage,
  STATUS.opUnsupported,
]

test('session: paths of any length and kind are refused, or lead to what is there', async (t) => {
  const { connect, put, names } = await openFixture(t)
  await put('a', 'x')
  const client = await connect()
  const paths = [
    'x'.repeat(FIELD_MAX),
    `/c/${'x'.repeat(FIELD_MAX)}`,
    `/c/${'x'.repeat(1025)}`,
    `/${'x'.repeat(257)}/a`,
    `/c/${'d/'.repeat(100_000)}a`,
    Buffer.from([0x2f, 0x63, 0x2f, 0xff]),
    '/c/a\0b',
    Buffer.from([0x2f, 0x63, 0x2f, 0xed, 0xa0, 0x80]),
  ]
  for (const path of paths) {
    const twice = [path, path]
    const requests: readonly (readonly [type: number, ...fields: (string | Uint8Array)[]])[] = [
      [REQUEST.open, path, uint32Field(CREATE), NOTHING],
      [REQUEST.open, path, uint32Field(OPEN.read), NOTHING],
      [REQUEST.stat, path],
      [REQUEST.lstat, path],
      [REQUEST.setstat, path, NOTHING],
      [REQUEST.opendir, path],
      [REQUEST.remove, path],
      [REQUEST.mkdir, path, NOTHING],
      [REQUEST.rmdir, path],
      [REQUEST.rename, ...twice],
      [REQUEST.rename, '/c/a', path],
      [REQUEST.extended, 'posix-rename@openssh.com', '/c/a', path],
      [REQUEST.extended, path],
    ]
    for (const [type, ...fields] of requests) {
      const { type: kind, fields: reply } = await client.request(type, ...fields)
      const status = kind === 101 ? reply.uint32() : undefined
      assert.ok(
        status !== undefined && REFUSALS.includes(status),
        `${type} ${fields[0]?.slice(0, 40)} ${status}`,
      )
    }
  }
  assert.ok((await client.request(REQUEST.realpath, '/..'.repeat(60_000))).type === 104)
  assert.deepEqual(await client.stat(`/c/${'./'.repeat(90_000)}a`), 1)
  assert.deepEqual(await names(), ['a'])
  assert.deepEqual(client.bugs, [])
})

test('session: offsets, lengths and counts without end are refused or cut', async (t) => {
  const { connect, put, names } = await openFixture(t, { quota: 1_000_000 })
  await put('a', exampleBytes(1000))
  const client = await connect()
  const far = Buffer.alloc(8, 0xff)
  const handle = await client.open('/c/a')
  const length = (count: number) => uint32Field(count)
  assert.equal(await client.status(REQUEST.read, text(handle), far, length(10)), STATUS.eof)
  const { fields } = await client.request(REQUEST.read, text(handle), uint64Fields(0), length(2 ** 32 - 1))
  assert.equal(fields.bytes().length, 1000)
  const writing = await client.open('/c/b', CREATE)
  assert.equal(await client.status(REQUEST.write, text(writing), far, text('x')), STATUS.failure)
  const size = Buffer.concat([uint32Field(1), far])
  assert.equal(await client.status(REQUEST.fsetstat, text(writing), size), STATUS.failure)
  assert.equal(await client.status(REQUEST.setstat, '/c/a', size), STATUS.failure)
  // Extended attributes that are announced and do not come.
  const extended = Buffer.concat([uint32Field(0x80000000), uint32Field(2 ** 32 - 1)])
  assert.ok(REFUSALS.includes(await client.status(REQUEST.setstat, '/c/a', extended)))
  for (const name of [Buffer.alloc(0), Buffer.alloc(4, 0xff), Buffer.alloc(100_000)])
    assert.equal(await client.status(REQUEST.close, text(name)), STATUS.failure)
  const copy = [text(handle), far, far, text(writing), far]
  await client.request(REQUEST.extended, 'copy-data', ...copy)
  await client.drop()
  assert.deepEqual(await names(), ['a'])
  assert.deepEqual(client.bugs, [])
})

test('session: whatever follows the type of a request, there is an answer or the end', async (t) => {
  const { connect } = await openFixture(t)
  const client = await connect()
  for (let type = 1; type < 256; type++) {
    for (const rest of [
      Buffer.alloc(0),
      Buffer.alloc(40, 0xff),
      Buffer.alloc(40),
      Buffer.alloc(PACKET_MAX - 5),
    ]) {
      const { type: kind } = await client.request(type, rest)
      assert.ok([101, 102, 104, 105, 201].includes(kind), `${type}: ${kind}`)
    }
  }
  assert.throws(() => client.session.receive(Buffer.from([REQUEST.stat, 0, 0])), MalformedPacket)
  assert.deepEqual(client.bugs, [])
})

test('session: an account has at most as many files open for writing as it leaves to others', async (t) => {
  const { connect, orbit, owner, at, names } = await openFixture(t, { seats: createUploadSeats(6) })
  const [client, another] = [await connect(), await connect()]
  const handles = [
    await client.open('/c/1', CREATE),
    await another.open('/c/2', CREATE),
    await client.open('/c/3', CREATE),
  ]
  await assert.rejects(another.open('/c/4', CREATE), /4 too many uploads are under way/)
  const { signal } = new AbortController()
  const attributes = { headers: {}, metadata: {} }
  await assert.rejects(orbit.objects.beginPut(owner, at('5'), { attributes, length: 20_000, signal }), {
    name: 'Busy',
  })
  await (await orbit.objects.beginPut(owner, at('5'), { attributes, length: 2000, signal }))[
    Symbol.asyncDispose
  ]()
  await client.close(handles[0]!)
  await another.put('/c/4', 'x')
  await client.drop()
  await another.drop()
  assert.deepEqual((await names()).slice(0, 2), ['1', '4'])
  await (await orbit.objects.beginPut(owner, at('5'), { attributes, length: 20_000, signal }))[
    Symbol.asyncDispose
  ]()
})
