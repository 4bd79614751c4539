import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Part } from '#base/content.ts'
import type { Asker, FoundObject, LibraryOptions } from './deps.ts'
import { openLibrary, REGISTER } from './library.fixtures.ts'

const [ONE, TWO] = ['1a'.repeat(32), '2b'.repeat(32)]
const stored = (manifest: string, length = 1000, size = 1000): FoundObject['parts'][number] => ({
  content: { kind: 'manifest', manifest, form: 'raw', size },
  offset: 0,
  length,
})
const inline = (bytes: Uint8Array): FoundObject['parts'][number] => ({
  content: { kind: 'inline', bytes },
  offset: 1,
  length: bytes.length - 1,
})
const ASKER: Asker = { host: 'lib.example', ip: '192.0.2.1' }
const URL_OF_OURS = `http://lib.example/v1/acc-12345/c/${'x'.repeat(3000)}/disk.raw?temp_url_sig=secret`

async function open(parts: FoundObject['parts'], change: Partial<LibraryOptions> = {}) {
  const held = { count: 0 }
  const joined: (readonly Part[])[] = []
  const fixture = await openLibrary({
    async findObject(url, asker) {
      if (!url.startsWith('http://lib.example/')) return undefined
      assert.deepEqual(asker, ASKER)
      held.count++
      const release = async () => void held.count--
      return { parts, etag: '"e"', lastModified: 'L', [Symbol.asyncDispose]: release }
    },
    async joinParts(wanted) {
      joined.push(wanted)
      return { manifest: TWO }
    },
    ...change,
  })
  const register = (more: object = {}) =>
    fixture.library.register(fixture.owner, { ...REGISTER, httpUrl: URL_OF_OURS, ...more }, ASKER)
  const roots = async () => Array.fromAsync((await fixture.library.operator.roots()).manifests())
  return {
    ...fixture,
    held,
    joined,
    register,
    roots,
    [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose](),
  }
}

test('an object of ours is ingested from its parts, and the image names it without its signature', async () => {
  await using at = await open([stored(ONE)])
  const image = await at.register()
  assert.deepEqual([image.source, at.held.count], ['disk.raw', 0])
  const { request } = await at.scripted.call(0)
  assert.deepEqual(request.source, {
    kind: 'parts',
    parts: [stored(ONE)],
    disk: ONE,
    url: URL_OF_OURS.replace(/\?.*/, ''),
    etag: '"e"',
    lastModified: 'L',
  })
  assert.deepEqual(at.joined, [])
})

test('parts are joined to one disk where none of them is all of it; never for a checksum', async () => {
  for (const parts of [[stored(ONE), stored(TWO)], [stored(ONE, 500)], [inline(Buffer.from('abc'))]]) {
    await using at = await open(parts)
    await at.register()
    const { source } = (await at.scripted.call(0)).request
    assert.ok(source.kind === 'parts' && source.disk === TWO)
    assert.deepEqual(at.joined.length, 1)
    assert.deepEqual(JSON.stringify(source.parts), JSON.stringify(parts))
  }
  await using at = await open([stored(ONE)])
  await at.register({ checksum: `sha256:${'ab'.repeat(32)}` })
  const { source } = (await at.scripted.call(0)).request
  assert.ok(source.kind === 'parts' && source.disk === undefined)
  assert.deepEqual(at.joined, [])
})

test('collection leaves the manifests alone until the registration ends, then that of the image', async () => {
  await using at = await open([stored(ONE), inline(Buffer.from('abc')), stored(TWO)])
  await at.register()
  assert.deepEqual((await at.roots()).sort(), [ONE, ONE, TWO, TWO])
  ;(await at.scripted.call(0)).succeed()
  await at.options.jobs.settled()
  assert.deepEqual([...new Set(await at.roots())], ['ab'.repeat(32)])
})

test('what is refused leaves no image, no job and no pin', async () => {
  const many = Array.from({ length: 10_001 }, () => stored(ONE))
  const large = Array.from({ length: 70 }, () => inline(Buffer.alloc(16 * 1024)))
  for (const parts of [many, large]) {
    await using at = await open(parts)
    await assert.rejects(at.register(), {
      code: 'invalid',
      message: /^http_url names a large object of too many/,
    })
    await assert.rejects(at.register({ arch: 'arm64' }), { code: 'invalid' })
    assert.deepEqual([at.held.count, await at.library.list(at.owner), await at.roots()], [0, [], []])
  }
})

test('a receipt without SHA-256 says so, and a URL of others is fetched as ever', async () => {
  await using at = await open([stored(ONE)])
  const { id } = await at.register()
  const source = { url: 'http://lib.example/v1/a/c/o', finalUrl: undefined, bytes: 1000, sha256: undefined }
  const call = await at.scripted.call(0)
  call.succeed({ source: { ...source, etag: '"e"', lastModified: 'L' } })
  await at.options.jobs.settled()
  const { provenance, progress } = await at.library.show(at.owner, id)
  assert.deepEqual([provenance.sha256, provenance.bytes, provenance.etag], [null, 1000, '"e"'])
  assert.equal(progress?.bytesDone, 1000)
  await at.register({ httpUrl: 'http://other.example/disk' })
  assert.equal((await at.scripted.call(1)).request.source.kind, 'http')
})
