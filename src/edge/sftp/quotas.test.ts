import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { PLAIN } from '#control/orbit/orbit.fixtures.ts'
import { exampleBytes, signal } from '#data/content/content.fixtures.ts'
import { CREATE, type Fixture, openFixture, text } from './sftp.fixtures.ts'
import { OPEN, REQUEST, uint32Field, uint64Fields } from './wire.ts'

const EXCEEDED = /^Error: 4 quota exceeded$/

const used = async ({ catalog, account }: Fixture) => (await catalog.orbitAccounts.find(account))?.bytesUsed
/** Bytes, and objects of the container. */
const promised = async ({ catalog, deps, account }: Fixture) => {
  const container = await catalog.containers.find(account, 'c')
  return [deps.promised.sum(`account ${account}`), deps.promised.sum(`objects in container ${container?.id}`)]
}

test('quota: the write that has no room is refused, and then everything of the file', async (t) => {
  const fixture = await openFixture(t, { quota: 3 * MiB })
  const client = await fixture.connect()
  const handle = await client.open('/c/a', CREATE)
  const piece = exampleBytes(200_000)
  let written = 0
  await assert.rejects(async () => {
    for (;;) {
      await client.write(handle, written, piece)
      written += piece.length
    }
  }, EXCEEDED)
  assert.equal(written, 15 * 200_000)
  assert.deepEqual(await promised(fixture), [0, 0], 'nobody else waits for it')
  await assert.rejects(client.write(handle, 0, 'x'), EXCEEDED)
  await assert.rejects(client.done(REQUEST.extended, 'fsync@openssh.com', text(handle)), EXCEEDED)
  await assert.rejects(client.close(handle), EXCEEDED)
  assert.deepEqual(await fixture.names(), [])
  await client.put('/c/a', piece)
  assert.deepEqual(await promised(fixture), [0, 0])
})

test('quota: what one file was promised no other has, until its connection is gone', async (t) => {
  const fixture = await openFixture(t, { quota: 100_000 })
  const [first, other] = [await fixture.connect(), await fixture.connect()]
  await first.write(await first.open('/c/a', CREATE), 0, exampleBytes(60_000))
  const put = (length?: number) =>
    fixture.orbit.objects.beginPut(fixture.owner, fixture.at('b'), {
      attributes: PLAIN,
      signal,
      ...(length === undefined ? {} : { length }),
    })
  await assert.rejects(put(40_001), { kind: 'quota' })
  await using upload = await put()
  await upload.write(exampleBytes(30_000))
  const handle = await other.open('/c/d', CREATE)
  await assert.rejects(other.write(handle, 0, exampleBytes(10_001)), EXCEEDED)
  await upload[Symbol.asyncDispose]()
  await first.drop()
  // What came of a broken connection stays, to be gone on with.
  assert.equal(await used(fixture), 60_000)
  await other.drop()
  assert.deepEqual(await promised(fixture), [0, 0])
})

test('quota: is asked for where a file is made longer, copied to, goes on after fsync or elsewhere', async (t) => {
  const fixture = await openFixture(t, { quota: 100_000 })
  const { orbit, owner, account, put, names } = fixture
  await put('base', Buffer.alloc(60_000))
  const client = await fixture.connect()
  const size = (bytes: number) => Buffer.concat([uint32Field(1), uint64Fields(bytes)])
  await assert.rejects(client.done(REQUEST.setstat, '/c/base', size(100_001)), EXCEEDED)
  await client.done(REQUEST.setstat, '/c/base', size(90_000))
  await client.done(REQUEST.setstat, '/c/base', size(60_000))

  const handle = await client.open('/c/a', CREATE)
  await assert.rejects(client.done(REQUEST.fsetstat, text(handle), size(40_001)), EXCEEDED)
  await client.write(handle, 0, exampleBytes(20_000))
  await client.done(REQUEST.extended, 'fsync@openssh.com', text(handle))
  assert.deepEqual([await used(fixture), ...(await promised(fixture))], [80_000, 0, 0])
  await client.write(handle, 20_000, exampleBytes(10_000))
  assert.deepEqual(await promised(fixture), [10_000, 0], 'what stands there already is not promised again')
  await orbit.containers.put(owner, { account, container: 'd' }, { metadata: { 'quota-bytes': '35000' } })
  await client.done(REQUEST.extended, 'posix-rename@openssh.com', '/c/a', '/d/a')
  await assert.rejects(client.write(handle, 30_000, exampleBytes(5001)), EXCEEDED)
  await assert.rejects(client.close(handle), EXCEEDED)

  const [from, to] = [await client.open('/c/base'), await client.open('/c/copy', CREATE)]
  const copy = [text(from), uint64Fields(0, 0), text(to), uint64Fields(0)]
  await assert.rejects(client.done(REQUEST.extended, 'copy-data', ...copy), EXCEEDED)
  await client.drop()
  assert.deepEqual(await names(), ['base'])
  assert.deepEqual(await promised(fixture), [0, 0])
})

test('quota: of objects is taken by a file that is open, and not by one that replaces another', async (t) => {
  const fixture = await openFixture(t)
  const { orbit, owner, account, put, names } = fixture
  await orbit.containers.update(owner, { account, container: 'c' }, { metadata: { 'quota-count': '2' } })
  await put('there', 'x')
  const client = await fixture.connect()
  const handle = await client.open('/c/new', CREATE)
  await assert.rejects(client.open('/c/more', CREATE), EXCEEDED)
  await assert.rejects(put('more', 'y'), { kind: 'quota' })
  await client.put('/c/there', 'z', OPEN.write)
  await client.close(handle)
  await client.done(REQUEST.remove, '/c/new')
  await put('more', 'y')
  assert.deepEqual(await names(), ['more', 'there'])
})

test('quota: a hundred that race by SFTP and HTTP never pass it, of bytes or of objects', async (t) => {
  const quota = 20 * 100_000
  const fixture = await openFixture(t, { quota })
  const { orbit, owner, account, at, names, put, connect } = fixture
  await orbit.containers.update(owner, { account, container: 'c' }, { metadata: { 'quota-count': '25' } })
  const clients = await Promise.all(Array.from({ length: 5 }, () => connect()))
  const bytes = exampleBytes(100_000)
  async function race(n: number): Promise<void> {
    if (n % 2 === 0) {
      await using upload = await orbit.objects.beginPut(owner, at(`${n}`), { attributes: PLAIN, signal })
      for (let offset = 0; offset < bytes.length; offset += 20_000)
        await upload.write(bytes.subarray(offset, offset + 20_000))
      await upload.finish()
      return
    }
    const client = clients[n % clients.length]!
    const handle = await client.open(`/c/${n}`, CREATE)
    const pieces = [0, 1, 2, 3, 4].map((k) =>
      client.write(handle, k * 20_000, bytes.subarray(k * 20_000, (k + 1) * 20_000)),
    )
    await Promise.allSettled(pieces)
    await client.close(handle)
  }
  const ends = await Promise.allSettled(Array.from({ length: 100 }, (_, n) => race(n)))
  const won = ends.filter(({ status }) => status === 'fulfilled').length
  assert.ok(won > 0 && won <= 20, `${won} were let in`)
  assert.equal((await names()).length, won)
  assert.equal(await used(fixture), won * 100_000)
  assert.deepEqual(await promised(fixture), [0, 0])
  // All of it can be used.
  for (let n = won; n < 20; n++) await put(`more ${n}`, bytes)
  await assert.rejects(put('one more', bytes), { kind: 'quota' })
  assert.deepEqual(
    clients.flatMap((client) => client.bugs),
    [],
  )
})
