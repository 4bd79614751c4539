import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANYBODY } from '#model/orbit.ts'
import { LIMITS } from './limits.ts'
import { EVERYTHING, openOrbit, PLAIN } from './orbit.fixtures.ts'
import type { ObjectAttributes } from './orbit.ts'

const LARGE = Buffer.alloc(20_000, 'large ')
const { signal } = new AbortController()
const REST = { headers: {}, metadata: {} }

test('objects: put, listed, read and removed', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const path = { account, container: 'c', object: 'a/b' }
  assert.equal(await fixture.put('a/b', 'hello'), '5d41402abc4b2a76b9719d911017c592')
  assert.equal(await fixture.read('a/b'), 'hello')
  assert.deepEqual(await fixture.names(), ['a/b'])
  await orbit.objects.remove(owner, path)
  await assert.rejects(orbit.objects.show(owner, path), { kind: 'not_found' })
  await assert.rejects(orbit.objects.remove(owner, path), { kind: 'not_found' })
  assert.deepEqual(await fixture.names(), [])
})

test('put: everything is replaced, and comes back as it was, whatever is in it', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const path = { account, container: 'c', object: '../\u{10ffff}//é' }
  const bytes = String.fromCharCode(...Array.from({ length: 255 }, (_, index) => index + 1))
  const attributes: ObjectAttributes = {
    contentType: 'text/x;a="ÿ"',
    headers: { 'content-encoding': 'gzip', 'cache-control': bytes },
    metadata: { é: bytes, empty: '', __proto__x: '1', constructor: '2' },
    deleteAt: 1_900_000_000,
    dynamicManifest: 'segments/a%20b',
  }
  await fixture.put(path.object, 'old', { attributes: { ...PLAIN, metadata: { gone: '1' } } })
  await fixture.put(path.object, 'new', { attributes })
  const info = await orbit.objects.show(owner, path, { manifest: true })
  const { contentType, headers, metadata, deleteAt, dynamicManifest } = info
  assert.deepEqual({ contentType, headers, metadata, deleteAt, dynamicManifest }, attributes)
  assert.deepEqual([info.name, info.size, info.manifestEtag], [path.object, 3, undefined])
})

test('put: a type that was not given is guessed from the name', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  for (const [object, expected] of [
    ['a.txt', 'text/plain'],
    ['a/b.JPG', 'image/jpeg'],
    ['a.tar.gz', 'application/x-tar'],
    ['a.tgz', 'application/x-tar'],
    ['a.qcow2', 'application/octet-stream'],
    ['txt', 'application/octet-stream'],
    ['a.txt/b', 'application/octet-stream'],
    ['.txt', 'application/octet-stream'],
    ['a.gz', 'application/octet-stream'],
  ] as const) {
    await fixture.put(object)
    const info = await orbit.objects.show(owner, { account, container: 'c', object })
    assert.equal(info.contentType, expected, object)
  }
})

test('put: one that is not finished leaves the old object, and nothing open', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account, contents } = fixture
  const path = { account, container: 'c', object: 'o' }
  await fixture.put('o', 'old')
  {
    await using upload = await orbit.objects.beginPut(owner, path, { attributes: PLAIN, signal })
    await upload.write(Buffer.from('half'))
  }
  await assert.rejects(
    async () => {
      await using upload = await orbit.objects.beginPut(owner, path, { attributes: PLAIN, signal })
      await upload.write(Buffer.from('new'))
      await upload.finish({ etag: '22af645d1859cb5ca6da0c484f1f37ea'.toUpperCase() })
    },
    { kind: 'mismatch' },
  )
  assert.equal(await fixture.read('o'), 'old')
  assert.equal(contents.open, 0)
})

test('put: an announced ETag that is the MD5 lets the object in', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const path = { account, container: 'c', object: 'o' }
  await using upload = await orbit.objects.beginPut(owner, path, { attributes: PLAIN, signal })
  await upload.write(Buffer.from('new'))
  const { etag } = await upload.finish({ etag: '22af645d1859cb5ca6da0c484f1f37ea' })
  assert.equal(etag, '22af645d1859cb5ca6da0c484f1f37ea')
})

test('put: what is refused is refused before any byte', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account, contents } = fixture
  await fixture.put('there')
  const begin = (change: object, path: object = {}, caller = owner) =>
    orbit.objects.beginPut(
      caller,
      { account, container: 'c', object: 'o', ...path },
      { attributes: PLAIN, signal, ...change },
    )
  const nowhere = { container: 'nowhere' }
  await assert.rejects(begin({}, nowhere), { kind: 'not_found' })
  await assert.rejects(begin({}, {}, other), { kind: 'denied' })
  await assert.rejects(begin({}, nowhere, other), { kind: 'denied' })
  await assert.rejects(begin({}, nowhere, ANYBODY), { kind: 'denied' })
  await assert.rejects(begin({ ifNoneMatch: true }, { object: 'there' }), { kind: 'precondition' })
  await assert.rejects(begin({ length: 5 * 2 ** 30 + 3 }), {
    kind: 'too_large',
    message: 'Your request is too large.',
  })
  await assert.rejects(begin({}, { object: 'é'.repeat(513) }), {
    kind: 'invalid',
    message: 'Object name length of 1026 longer than 1024',
  })
  await assert.rejects(begin({ attributes: { ...PLAIN, metadata: { '': 'x' } } }), {
    message: 'Metadata name cannot be empty',
  })
  await assert.rejects(begin({ attributes: { ...PLAIN, dynamicManifest: 'c' } }), {
    message: 'X-Object-Manifest must be in the format container/prefix',
  })
  assert.equal(contents.open, 0)
})

test('put: what has changed until the bytes are there counts', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const path = { account, container: 'c', object: 'o' }
  {
    const options = { attributes: PLAIN, signal, ifNoneMatch: true }
    await using upload = await orbit.objects.beginPut(owner, path, options)
    await fixture.put('o', 'first')
    await assert.rejects(upload.finish(), { kind: 'precondition' })
    assert.equal(await fixture.read('o'), 'first')
  }
  await using upload = await orbit.objects.beginPut(owner, path, { attributes: PLAIN, signal })
  await orbit.objects.remove(owner, path)
  await orbit.containers.remove(owner, path)
  await assert.rejects(upload.finish(), { kind: 'not_found' })
})

test('publish: bytes that were written elsewhere become an object under the same rules', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account, contents } = fixture
  const path = { account, container: 'c', object: 'o' }
  const written = contents.keep(LARGE)
  const info = await orbit.objects.publish(owner, path, PLAIN, written)
  assert.deepEqual([info.size, info.etag], [LARGE.length, written.md5])
  assert.equal(await fixture.read('o'), LARGE.toString())
  await assert.rejects(orbit.objects.publish(other, path, PLAIN, written), { kind: 'denied' })
})

test('publish: a file may be larger than what one PUT may bring', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account, contents } = fixture
  const path = { account, container: 'c', object: 'disk' }
  const size = LIMITS.objectSize + 1
  const { content, ...written } = contents.keep(LARGE)
  assert.ok(content.kind === 'manifest')
  await orbit.objects.publish(owner, path, PLAIN, { ...written, size, content: { ...content, size } })
  assert.equal((await orbit.objects.show(owner, path)).size, size)
  const signal = new AbortController().signal
  const options = { attributes: PLAIN, length: size, signal }
  await assert.rejects(orbit.objects.beginPut(owner, path, options), { kind: 'too_large' })
})

test('read: what is in blocks is pinned until it is disposed of, and nothing else is', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account, pinned } = fixture
  await fixture.put('small', 'small')
  await fixture.put('large', LARGE)
  {
    await using _small = await orbit.objects.locate(owner, { account, container: 'c', object: 'small' })
    assert.deepEqual(pinned, [])
    await using _large = await orbit.objects.locate(owner, { account, container: 'c', object: 'large' })
    assert.equal(pinned.length, 1)
  }
  assert.deepEqual(pinned, [])
})

test('read: an object that is replaced while its manifest is being pinned is read as it is then', async () => {
  const later = Buffer.alloc(20_000, 'later ')
  let replace: (() => Promise<unknown>) | undefined
  const pinned: string[] = []
  await using fixture = await openOrbit({
    acquirePins: async ([manifest = '']) => {
      await replace?.()
      pinned.push(manifest)
      return { [Symbol.asyncDispose]: async () => void pinned.splice(pinned.indexOf(manifest), 1) }
    },
  })
  const { orbit, owner, account } = fixture
  await fixture.put('o', LARGE)
  replace = () => {
    replace = undefined
    return fixture.put('o', later)
  }
  await using located = await orbit.objects.locate(owner, { account, container: 'c', object: 'o' })
  const [part] = located.parts
  assert.ok(part?.content?.kind === 'manifest')
  assert.deepEqual(pinned, [part.content.manifest])
  assert.equal(fixture.contents.manifests.get(part.content.manifest)?.equals(later), true)
})

test('read: one that is removed while it is being pinned is gone, and pinned no longer', async () => {
  const pinned: string[] = []
  await using fixture = await openOrbit({
    acquirePins: async ([manifest = '']) => {
      pinned.push(manifest)
      await orbit.objects.remove(owner, path)
      return { [Symbol.asyncDispose]: async () => void pinned.pop() }
    },
  })
  const { orbit, owner, account } = fixture
  const path = { account, container: 'c', object: 'o' }
  await fixture.put('o', LARGE)
  await assert.rejects(orbit.objects.locate(owner, path), { kind: 'not_found' })
  assert.deepEqual(pinned, [])
})

test('update: replaces what it may, and leaves bytes, type and place alone', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account } = fixture
  const path = { account, container: 'c', object: 'o.txt' }
  await fixture.put('o.txt', 'bytes', {
    attributes: { headers: { expires: 'x' }, metadata: { a: '1' }, deleteAt: 1_900_000_000 },
  })
  const before = await orbit.objects.show(owner, path)
  await orbit.objects.update(owner, path, { headers: {}, metadata: { b: '' } })
  const after = await orbit.objects.show(owner, path)
  assert.deepEqual(after, {
    ...before,
    ...REST,
    metadata: { b: '' },
    deleteAt: undefined,
    modifiedAt: after.modifiedAt,
  })
  assert.ok(after.modifiedAt > before.modifiedAt)
  await orbit.objects.update(owner, path, { ...PLAIN, contentType: 'text/html' })
  const { rows } = await orbit.containers.list(owner, path, EVERYTHING)
  assert.deepEqual(
    rows.map((row) => row.kind === 'object' && [row.contentType, row.bytes]),
    [['text/html', 5]],
  )
  await assert.rejects(orbit.objects.update(owner, { ...path, object: 'none' }, PLAIN), { kind: 'not_found' })
  await assert.rejects(orbit.objects.update(other, path, PLAIN), { kind: 'denied' })
  await assert.rejects(orbit.objects.update(owner, path, { ...PLAIN, metadata: { a: 'x'.repeat(257) } }), {
    message: 'Metadata value longer than 256: x-object-meta-a',
  })
})
