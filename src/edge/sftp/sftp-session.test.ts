import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { exampleBytes } from '#data/content/content.fixtures.ts'
import { CREATE, handleOf, NOTHING, openFixture, statOf, TestClient, text } from './sftp.fixtures.ts'
import { MalformedPacket, OPEN, REQUEST, STATUS, uint32Field, uint64Fields } from './wire.ts'

test('session: nothing comes before INIT, and what breaks the protocol ends it', async (t) => {
  const { contents, openDesk } = await openFixture(t)
  const files = {} as never
  void openDesk
  const client = new TestClient({ files, contents })
  assert.throws(() => client.session.receive(Buffer.from([REQUEST.stat, 0, 0, 0, 1])), MalformedPacket)
  await client.start()
  assert.throws(() => client.session.receive(Buffer.from([REQUEST.stat, 0])), MalformedPacket)
  assert.equal(await client.status(REQUEST.stat, uint32Field(99)), STATUS.badMessage, 'a field that is cut')
  assert.equal(await client.status(REQUEST.extended, 'nobody@example.com'), STATUS.opUnsupported)
  assert.equal(await client.status(20, 'a', 'b'), STATUS.opUnsupported, 'symlink')
  assert.equal(await client.status(77), STATUS.opUnsupported)
  assert.equal(await client.status(REQUEST.readlink, '/c'), STATUS.failure)
  assert.deepEqual(client.bugs, [])
})

test("session: a file is its own connection's until it is closed, and then everybody's", async (t) => {
  const { connect, names, read } = await openFixture(t)
  const [client, stranger] = [await connect(), await connect()]
  const handle = await client.open('/c/dir/file', CREATE | OPEN.exclusive)
  assert.equal(await client.stat('/c/dir/file'), 0)
  await Promise.all([
    client.write(handle, 6, 'world'),
    client.write(handle, 0, 'hello '),
    client.write(handle, 6, 'W'),
  ])
  assert.equal(statOf(await client.request(REQUEST.fstat, text(handle))), 11)
  assert.equal(await client.stat('c/dir/file'), 11)
  assert.deepEqual(await stranger.stat('/c/dir/file'), undefined)
  assert.deepEqual(await names(), [])
  await client.close(handle)
  assert.equal(String(await read('dir/file')), 'hello World')
  assert.deepEqual(await stranger.list('/c/dir'), ['file'])
})

test('session: a listing has the size that a file being written has by now', async (t) => {
  const { connect, put } = await openFixture(t)
  await put('old', 'x')
  const client = await connect()
  const handle = await client.open('/c/old', OPEN.write)
  await client.write(handle, 1, 'yz')
  await client.open('/c/new', CREATE)
  const reply = await client.request(REQUEST.opendir, '/c')
  const { fields } = await client.request(REQUEST.readdir, text(handleOf(reply)))
  assert.equal(fields.uint32(), 1)
  fields.bytes()
  assert.match(fields.text(), /^-rw-r--r-- +1 0 +0 +3 .* old$/)
  assert.deepEqual(await client.list('/c'), ['new', 'old'])
})

test('session: requests need not wait for the answers of those before them', async (t) => {
  const { connect, read } = await openFixture(t)
  const client = await connect()
  const handle = await client.open('/c/a', CREATE)
  const size = Buffer.concat([uint32Field(1), uint64Fields(3)])
  const answers = [
    client.write(handle, 0, 'abcdef'),
    client.done(REQUEST.fsetstat, text(handle), size),
    client.write(handle, 5, 'X'),
    client.close(handle),
    client.done(REQUEST.rename, '/c/a', '/c/b'),
    client.done(REQUEST.mkdir, '/c/d', NOTHING),
    client.done(REQUEST.rmdir, '/c/d'),
  ]
  await Promise.all(answers)
  assert.equal(String(await read('b')), 'abc\0\0X')
})

test('session: a connection that breaks leaves what was there, or what can be gone on with', async (t) => {
  const { connect, put, read, info, names } = await openFixture(t)
  await put('old', 'old')
  const first = await connect()
  await first.write(await first.open('/c/old', CREATE), 0, 'new')
  await first.write(await first.open('/c/new', CREATE), 0, 'begin')
  await first.write(await first.open('/c/gaps', CREATE), 5, 'end')
  await first.open('/c/empty', CREATE)
  await first.drop()
  assert.deepEqual(await names(), ['new', 'old'])
  assert.deepEqual([String(await read('old')), String(await read('new'))], ['old', 'begin'])

  const second = await connect()
  await second.write(await second.open('/c/new', OPEN.write | OPEN.append | OPEN.create), 5, 'ning')
  await second.drop()
  assert.equal(String(await read('new')), 'beginning', 'what is gone on with may break again')

  const third = await connect()
  const handle = await third.open('/c/new', OPEN.write | OPEN.append | OPEN.create)
  await third.write(handle, 9, '!')
  await third.close(handle)
  assert.deepEqual([String(await read('new')), (await info('new')).metadata], ['beginning!', {}])
  const fourth = await connect()
  await fourth.write(await fourth.open('/c/new', OPEN.write), 0, 'X')
  await fourth.drop()
  assert.equal(String(await read('new')), 'beginning!', 'what was finished is not replaced')
})

test('session: a change in place keeps what else there is of the object', async (t) => {
  const { connect, put, info, read } = await openFixture(t)
  const attributes = {
    contentType: 'text/x',
    headers: { 'content-encoding': 'y' },
    metadata: { a: 'b', mtime: '5' },
    deleteAt: 4e9,
  }
  await put('a', '0123456789', { attributes })
  const client = await connect()
  const handle = await client.open('/c/a', OPEN.read | OPEN.write)
  await client.write(handle, 2, 'xx')
  assert.equal(String(await client.read(handle, 0, 5)), '01xx4')
  await client.close(handle)
  assert.equal(String(await read('a')), '01xx456789')
  const { contentType, headers, metadata, deleteAt } = await info('a')
  assert.deepEqual({ contentType, headers, metadata, deleteAt }, { ...attributes, metadata: { a: 'b' } })
  await client.put('/c/a', 'new')
  assert.deepEqual((await info('a')).metadata, {}, 'but not where the file begins anew')
})

test('session: a large object made of parts can be changed in place', async (t) => {
  const { connect, put, orbit, owner, at, read } = await openFixture(t)
  const bytes = exampleBytes(100_000)
  await put('seg/1', bytes)
  await put('seg/2', 'end')
  const attributes = { headers: {}, metadata: {} }
  const entries = ['seg/1', 'seg/2'].map((name) => ({ kind: 'segment' as const, path: `/c/${name}` }))
  await orbit.objects.putStatic(owner, at('large'), attributes, { entries })
  const client = await connect()
  assert.equal(await client.stat('/c/large'), 100_003)
  const handle = await client.open('/c/large', OPEN.write)
  await client.write(handle, 100_003, '!')
  await client.close(handle)
  assert.ok((await read('large')).equals(Buffer.concat([bytes, Buffer.from('end!')])))
  assert.equal(await client.stat('/c/seg/2'), 3)
})

test('session: times and sizes are set, modes are taken and forgotten', async (t) => {
  const { connect, info, put, read } = await openFixture(t)
  const client = await connect()
  const times = (seconds: number) => Buffer.concat([uint32Field(8), uint32Field(1), uint32Field(seconds)])
  const mode = Buffer.concat([uint32Field(4), uint32Field(0o600)])
  const size = (bytes: number) => Buffer.concat([uint32Field(1), uint64Fields(bytes)])
  const handle = await client.open('/c/a', CREATE)
  await client.write(handle, 0, 'abc')
  await client.done(REQUEST.fsetstat, text(handle), times(1000))
  await client.close(handle)
  assert.equal((await info('a')).metadata.mtime, '1000.000000')
  assert.equal(await client.mtime('/c/a'), 1000)
  await put('b', 'abc', { attributes: { headers: {}, metadata: { x: 'y', mtime: '17.9' } } })
  assert.equal(await client.mtime('/c/b'), 17)
  await client.done(REQUEST.setstat, '/c/b', times(2000))
  assert.deepEqual((await info('b')).metadata, { x: 'y', mtime: '2000.000000' })
  await client.done(REQUEST.setstat, '/c/b', mode)
  await client.done(
    REQUEST.setstat,
    '/c',
    Buffer.concat([uint32Field(12), uint32Field(0), uint32Field(0), uint32Field(0)]),
  )
  await client.done(REQUEST.extended, 'lsetstat@openssh.com', '/c/b', mode)
  assert.equal(await client.status(REQUEST.setstat, '/c/none', mode), STATUS.noSuchFile)
  await client.done(REQUEST.setstat, '/c/b', size(1))
  await client.done(REQUEST.setstat, '/c/b', size(3))
  assert.deepEqual(await read('b'), Buffer.from('a\0\0'))
  const reading = await client.open('/c/b')
  assert.equal(await client.status(REQUEST.fsetstat, text(reading), times(3000)), STATUS.ok)
  assert.equal(await client.status(REQUEST.fsetstat, text(reading), size(0)), STATUS.failure)
  assert.equal(await client.mtime('/c/b'), 3000)
})

test('session: open says what is in the way', async (t) => {
  const { connect, put } = await openFixture(t)
  await put('file', 'x')
  await put('dir/file', 'x')
  const client = await connect()
  const refused = (path: string, flags: number, code: number) =>
    assert.rejects(client.open(path, flags), new RegExp(`^Error: ${code} `), `${path} ${flags}`)
  await refused('/c/none', OPEN.read, STATUS.noSuchFile)
  await refused('/c/none', OPEN.write, STATUS.noSuchFile)
  await refused('/none/file', CREATE, STATUS.noSuchFile)
  await refused('/c/file', CREATE | OPEN.exclusive, STATUS.failure)
  await refused('/c/dir', CREATE, STATUS.failure)
  await refused('/c/dir/', CREATE, STATUS.failure)
  await refused('/c', CREATE, STATUS.failure)
  await refused('/', OPEN.read, STATUS.failure)
  await refused(`/c/${'x'.repeat(1025)}`, CREATE, STATUS.failure)
  const handle = await client.open('/c/file')
  await assert.rejects(client.write(handle, 0, 'y'), /4 the file is not open for writing/)
  await client.close(handle)
  assert.equal(await client.status(REQUEST.close, text(handle)), STATUS.failure)
  assert.equal(await client.status(REQUEST.fstat, text('no such handle')), STATUS.failure)
})

test('session: handles are bounded, and come back', async (t) => {
  const { connect, put } = await openFixture(t)
  await put('a', 'x')
  const client = await connect('owner', { handles: { max: 2, open: 0 } })
  const handles = [await client.open('/c/a'), await client.open('/c/a')]
  await assert.rejects(client.open('/c/a'), /too many open files/)
  assert.equal(await client.status(REQUEST.opendir, '/c'), STATUS.failure)
  await client.close(handles[0]!)
  await client.open('/c/a')
})

test('session: reads in any order get what is there, and end at the end', async (t) => {
  const { connect, put } = await openFixture(t)
  const bytes = exampleBytes(3_500_000)
  await put('large', bytes)
  const client = await connect()
  const seed = randomInt(2 ** 31)
  let state = seed
  const next = (below: number) => {
    state = (Math.imul(state, 48_271) >>> 0) % 2_147_483_647
    return state % below
  }
  const handle = await client.open('/c/large')
  await Promise.all(
    Array.from({ length: 200 }, async () => {
      const [offset, length] = [next(bytes.length + 1000), 1 + next(261_120)]
      const read = await client.read(handle, offset, length)
      const expected = bytes.subarray(offset, offset + length)
      if (offset >= bytes.length) assert.equal(read, undefined)
      else assert.ok(read?.equals(expected), `seed ${seed}: ${offset} ${length}`)
    }),
  )
  assert.equal(client.isPressed, false)
  await client.close(handle)
})

test('session: a client with too many requests is not read from until some are answered', async (t) => {
  const { connect, put } = await openFixture(t)
  await put('large', exampleBytes(100_000))
  const client = await connect()
  const handle = await client.open('/c/large')
  const { promise, resolve } = Promise.withResolvers<void>()
  client.room = promise
  const reads = Array.from({ length: 300 }, (_, index) => client.read(handle, index, 10))
  await client.read(handle, 100_000, 1)
  assert.equal(client.isPressed, true)
  client.room = undefined
  resolve()
  await Promise.all(reads)
  assert.equal(client.isPressed, false)
})

test('session: fsync publishes, and copy-data copies', async (t) => {
  const { connect, read } = await openFixture(t)
  const client = await connect()
  const handle = await client.open('/c/a', CREATE)
  await client.write(handle, 0, 'abcdef')
  await client.done(REQUEST.extended, 'fsync@openssh.com', text(handle))
  assert.equal(String(await read('a')), 'abcdef')
  const from = await client.open('/c/a')
  const to = await client.open('/c/b', CREATE)
  const copy = (source: Buffer, offset: number, length: number, target: Buffer, at: number) =>
    client.done(
      REQUEST.extended,
      'copy-data',
      text(source),
      uint64Fields(offset, length),
      text(target),
      uint64Fields(at),
    )
  await copy(from, 2, 0, to, 0)
  await copy(to, 0, 2, handle, 6)
  await copy(from, 99, 0, to, 50)
  await assert.rejects(copy(to, 0, 1, to, 5), /^Error: 4 /)
  await assert.rejects(copy(to, 0, 1, from, 5), /^Error: 4 /)
  await Promise.all([client.close(to), client.close(handle)])
  assert.deepEqual([String(await read('b')), String(await read('a'))], ['cdef', 'abcdefcd'])
})

test('session: what a disk has is the quota', async (t) => {
  const { connect, put, orbit, owner, account } = await openFixture(t)
  await put('a', Buffer.alloc(8192))
  const client = await connect()
  const blocks = async (path: string) => {
    const { fields } = await client.request(REQUEST.extended, 'statvfs@openssh.com', path)
    const [size, , total, free] = [fields.uint64(), fields.uint64(), fields.uint64(), fields.uint64()]
    return [size, total, free]
  }
  assert.deepEqual(await blocks('/'), [4096, 2 ** 38, 2 ** 38 - 2])
  const change = { metadata: { 'quota-bytes': '40960' } }
  await orbit.containers.update(owner, { account, container: 'c' }, change)
  assert.deepEqual(await blocks('/c/a'), [4096, 10, 8])
  const handle = await client.open('/c/b', CREATE)
  await assert.rejects(client.write(handle, 0, Buffer.alloc(40_000)), /4 quota exceeded/)
  await assert.rejects(client.close(handle), /4 quota exceeded/)
  assert.deepEqual(await client.list('/c'), ['a'])
  const stranger = await connect('storage')
  const { type } = await stranger.request(REQUEST.extended, 'statvfs@openssh.com', '/')
  assert.equal(type, 201)
})
