import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Ledger } from '#base/ledger.ts'
import { NoRoom } from '#base/no-room.ts'
import { type OrbitFixture, openOrbit, PLAIN } from './orbit.fixtures.ts'

const EXCEEDED = { kind: 'quota', message: 'Upload exceeds quota.' }
const { signal } = new AbortController()

const setQuota = ({ orbit, owner, account }: OrbitFixture, metadata: Record<string, string>) =>
  orbit.containers.update(owner, { account, container: 'c' }, { metadata })

const begin = ({ orbit, owner, account }: OrbitFixture, object: string, length?: number) =>
  orbit.objects.beginPut(
    owner,
    { account, container: 'c', object },
    { attributes: PLAIN, signal, ...(length === undefined ? {} : { length }) },
  )

test('quota: of bytes holds for announced lengths, and for unannounced ones as they come', async () => {
  await using fixture = await openOrbit()
  await setQuota(fixture, { 'quota-bytes': '10' })
  await fixture.put('a', '12345')
  await assert.rejects(begin(fixture, 'b', 6), EXCEEDED)
  await (await begin(fixture, 'b', 5))[Symbol.asyncDispose]()
  await using upload = await begin(fixture, 'b')
  await upload.write(Buffer.from('12345'))
  await assert.rejects(upload.write(Buffer.from('6')), EXCEEDED)
  await upload[Symbol.asyncDispose]()
  await fixture.put('a', '1234567890')
  await assert.rejects(begin(fixture, 'b', 1), EXCEEDED)
})

test('quota: of objects holds for new ones, and lets others be replaced', async () => {
  await using fixture = await openOrbit()
  await setQuota(fixture, { 'quota-count': '1' })
  await fixture.put('a', 'old')
  await fixture.put('a', 'new')
  await assert.rejects(begin(fixture, 'b', 0), EXCEEDED)
})

test('quota: of two uploads that fit one by one only the first goes on, until it is given up', async () => {
  await using fixture = await openOrbit()
  await setQuota(fixture, { 'quota-bytes': '10' })
  await using one = await begin(fixture, 'a')
  await using other = await begin(fixture, 'b')
  await one.write(Buffer.alloc(6))
  await assert.rejects(other.write(Buffer.alloc(6)), EXCEEDED)
  await assert.rejects(begin(fixture, 'c', 5), EXCEEDED)
  await (await begin(fixture, 'c', 4))[Symbol.asyncDispose]()
  await one[Symbol.asyncDispose]()
  await fixture.put('c', '1234567890')
  assert.deepEqual(await fixture.names(), ['c'])
})

test('quota: what has expired takes no room', async () => {
  await using fixture = await openOrbit()
  const { clock } = fixture
  await setQuota(fixture, { 'quota-bytes': '10', 'quota-count': '1' })
  const deleteAt = Math.floor(clock.at / 1e6) + 1
  await fixture.put('a', '1234567890', { attributes: { ...PLAIN, deleteAt } })
  clock.at += 1e6
  await fixture.put('b', '1234567890')
})

test('quota: those who may not write are told that, and none is a number that is none', async () => {
  await using fixture = await openOrbit()
  const { orbit, other, account } = fixture
  await setQuota(fixture, { 'quota-bytes': '0' })
  const path = { account, container: 'c', object: 'o' }
  const put = orbit.objects.beginPut(other, path, { attributes: PLAIN, length: 1, signal })
  await assert.rejects(put, { kind: 'denied' })
  await assert.rejects(setQuota(fixture, { 'quota-bytes': '1e3' }), { message: 'Invalid bytes quota.' })
  await assert.rejects(setQuota(fixture, { 'quota-count': '-1' }), { message: 'Invalid count quota.' })
  await setQuota(fixture, { 'quota-bytes': '' })
  await fixture.put('o', 'x')
})

test('quota: of an account is for operators to set, and holds for all of its containers', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account, catalog } = fixture
  for (const value of ['1000', null])
    await assert.rejects(orbit.accounts.update(owner, account, { 'quota-bytes': value }), { kind: 'denied' })
  await catalog.orbitAccounts.setMetadata(account, { 'quota-bytes': '10' })
  await orbit.containers.put(owner, { account, container: 'd' }, { metadata: {} })
  await fixture.put('a', '12345')
  const path = { account, container: 'd', object: 'o' }
  const put = (length: number) => orbit.objects.beginPut(owner, path, { attributes: PLAIN, length, signal })
  await assert.rejects(put(6), EXCEEDED)
  await (await put(5))[Symbol.asyncDispose]()
})

test('quota: of the settings is for images, uploads and objects together', async () => {
  await using fixture = await openOrbit({ quota: 10, bytesOfImages: async () => 4 })
  await fixture.put('a', '123')
  await assert.rejects(begin(fixture, 'b', 4), EXCEEDED)
  await fixture.put('b', '123')
})

test('quota: what replaces an object whose old version is kept needs room beside it', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account, catalog } = fixture
  await catalog.orbitAccounts.setMetadata(account, { 'quota-bytes': '10' })
  await orbit.containers.put(owner, { account, container: 'old' }, { metadata: {} })
  const versions = { mode: 'stack', container: 'old' } as const
  await orbit.containers.update(owner, { account, container: 'c' }, { metadata: {}, versions })
  await fixture.put('a', '123456')
  await assert.rejects(fixture.put('a', '12345'), EXCEEDED)
  await fixture.put('a', '1234')
  assert.equal((await catalog.orbitAccounts.find(account))?.bytesUsed, 10)
  await assert.rejects(fixture.put('a', '1'), EXCEEDED)
})

test('quota: of a hundred that race as many are let in as there is room for, with a length or without', async () => {
  for (const length of [100, undefined]) {
    await using fixture = await openOrbit({ quota: 1050, bytesOfImages: async () => 50 })
    const { catalog, account, deps } = fixture
    const one = async (n: number) => {
      await using upload = await begin(fixture, `o${n}`, length)
      await upload.write(Buffer.alloc(60))
      await upload.write(Buffer.alloc(40))
      await upload.finish()
    }
    const ends = await Promise.allSettled(Array.from({ length: 100 }, (_, n) => one(n)))
    const won = ends.filter(({ status }) => status === 'fulfilled').length
    // Who says nothing may be refused for another who gives up later, too.
    assert.ok(length === undefined ? won > 0 && won <= 10 : won === 10, `${won} were let in`)
    assert.equal((await catalog.orbitAccounts.find(account))?.bytesUsed, won * 100)
    assert.equal(deps.promised.sum(`account ${account}`), 0)
  }
})

test('quota: of objects lets in as many of a hundred that race as there is room for', async () => {
  await using fixture = await openOrbit()
  const { catalog, account, deps } = fixture
  await setQuota(fixture, { 'quota-count': '10' })
  let refusedAtOnce = 0
  const one = async (n: number) => {
    const begun = begin(fixture, `o${n}`, n % 2 === 0 ? 1 : undefined)
    begun.catch(() => refusedAtOnce++)
    await using upload = await begun
    await upload.write(Buffer.alloc(1))
    await upload.finish()
  }
  const ends = await Promise.allSettled(Array.from({ length: 100 }, (_, n) => one(n)))
  assert.equal(ends.filter(({ status }) => status === 'fulfilled').length, 10)
  // What was read of the container may be older than what is promised; who is let in by that is refused at the end.
  assert.ok(refusedAtOnce >= 60 && refusedAtOnce <= 90, `${refusedAtOnce} send no bytes for nothing`)
  const container = await catalog.containers.find(account, 'c')
  assert.equal(container?.objectCount, 10)
  assert.equal(deps.promised.sum(`objects in container ${container?.id}`), 0)
})

test('disk: an object that is announced needs room before its first byte, and gives it back', async () => {
  const ledger = new Ledger()
  const promise = (bytes: number) => {
    if (ledger.sum('disk') + bytes > 10) throw new NoRoom({ wanted: bytes, free: 10, promised: 0, kept: 0 })
    return ledger.take(['disk'], bytes)
  }
  await using fixture = await openOrbit({ reserve: { promise } })
  await assert.rejects(begin(fixture, 'a', 11), { name: 'NoRoom' })
  const upload = await begin(fixture, 'a', 10)
  await upload.write(Buffer.alloc(4))
  assert.equal(ledger.sum('disk'), 6)
  await assert.rejects(begin(fixture, 'b', 5), { name: 'NoRoom' })
  await upload[Symbol.asyncDispose]()
  assert.equal(ledger.sum('disk'), 0)
  assert.equal(fixture.contents.open, 0)
})
