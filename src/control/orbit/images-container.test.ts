import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import type { Image, ImageStatus } from '#model/image.ts'
import { ANYBODY, type Caller, type Grant } from '#model/orbit.ts'
import { MemoryContents } from '../../../test/support/memory-contents.ts'
import { EVERYTHING, type OrbitFixture, openOrbit, PLAIN } from './orbit.fixtures.ts'
import type { Orbit } from './orbit.ts'

const { signal } = new AbortController()
const NO_PROVENANCE: Image['provenance'] = {
  ...{ url: null, finalUrl: null, formatChain: null, bytes: null },
  ...{ sha256: null, etag: null, lastModified: null, notes: [] },
}

/** An image of the account with so many bytes. @returns its id */
async function addImage(
  { catalog, contents, account }: OrbitFixture,
  {
    status = 'available',
    size = 20_000,
    accountId = account,
  }: { status?: ImageStatus; size?: number; accountId?: string } = {},
): Promise<string> {
  const { content } = contents.keep(Buffer.alloc(size, 'i'))
  assert.ok(content.kind === 'manifest')
  const { id } = await catalog.images.insert({
    ...{ accountId, name: 'image', arch: 'x86_64', status, description: null, username: null },
    ...{ sourceType: 'upload', sourceTrigger: 'manual', source: null, minRam: null, public: false },
    ...{ official: false, compatibilityMode: false, locked: false, licenceName: null, ancestorId: null },
    ...{ virtualSize: size, dataSize: size, manifest: content.manifest, provenance: NO_PROVENANCE },
    ...{
      progress: null,
      failure: null,
      damagedAt: null,
      createdAt: 1_700_000_000_000,
      updatedAt: 1_700_000_000_000,
    },
  })
  return id
}

const images = ({ account }: OrbitFixture) => ({ account, container: 'images' })
const at = (fixture: OrbitFixture, object: string) => ({ ...images(fixture), object })
const holder = (fixture: OrbitFixture, access: Grant['access']): Caller => ({
  ...ANYBODY,
  grant: { accountId: fixture.account, container: undefined, access },
})
const listed = async (fixture: OrbitFixture, query = {}) => {
  const { rows } = await fixture.orbit.containers.list(fixture.owner, images(fixture), {
    ...EVERYTHING,
    ...query,
  })
  return rows.map(({ name }) => name)
}

test('images container: an account finds those of its images that have bytes, and their LZ4 sizes', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other } = fixture
  const ids = [
    await addImage(fixture),
    await addImage(fixture, { status: 'deprecated', size: 30_000 }),
  ].sort()
  for (const status of ['creating', 'failed', 'unavailable', 'deleting', 'deleted'] as const)
    await addImage(fixture, { status })
  await addImage(fixture, { accountId: other.session?.accountId ?? '' })
  assert.deepEqual(await listed(fixture), ids)
  assert.deepEqual(await listed(fixture, { reverse: true, limit: 1 }), [ids[1]])
  assert.deepEqual(await listed(fixture, { prefix: 'img', delimiter: '-' }), ['img-'])
  const info = await orbit.containers.show(owner, images(fixture))
  assert.deepEqual([info.objectCount, info.bytesUsed], [2, 50_014])
})

test('images container: it is among the containers of its account, also when it is empty', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const list = async () => {
    const { info, rows } = await orbit.accounts.list(owner, account, EVERYTHING)
    const row = rows.find(({ name }) => name === 'images')
    assert.ok(row?.kind === 'container')
    assert.deepEqual(
      rows.map(({ name }) => name),
      ['c', 'images'],
    )
    return [row.count, row.bytes, info.containerCount, info.objectCount, info.bytesUsed]
  }
  assert.deepEqual(await list(), [0, 0, 2, 0, 0])
  await addImage(fixture)
  assert.deepEqual(await list(), [1, 20_007, 2, 1, 20_007])
  assert.equal((await orbit.accounts.show(owner, account)).objectCount, 1)
})

test('images container: each form has its name, size and ETag, and these never change', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, catalog } = fixture
  const id = await addImage(fixture)
  const show = (suffix: string) => orbit.objects.show(owner, at(fixture, `${id}${suffix}`))
  const all = await Promise.all(['', '.raw', '.qcow2'].map(show))
  assert.deepEqual(
    all.map(({ size }) => size),
    [20_007, 20_000, 20_100],
  )
  assert.equal(new Set(all.map(({ etag }) => etag)).size, 3)
  for (const info of all) {
    assert.match(info.etag, /^[0-9a-f]{32}$/)
    assert.deepEqual([info.large, info.manifestEtag], ['static', undefined])
  }
  await catalog.images.update(id, { name: 'renamed', updatedAt: 1_800_000_000_000 }, ['available'])
  assert.deepEqual(await Promise.all(['', '.raw', '.qcow2'].map(show)), all)
})

test('images container: what is read is kept from collection until it has been read', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, pinned } = fixture
  const id = await addImage(fixture)
  {
    await using located = await orbit.objects.locate(owner, at(fixture, `${id}.raw`))
    const [part] = located.parts
    assert.ok(part?.content?.kind === 'manifest' && 'offset' in part)
    assert.deepEqual([part.content.form, part.offset, part.length], ['raw', 0, 20_000])
    assert.deepEqual(pinned, [part.content.manifest])
  }
  assert.deepEqual(pinned, [])
})

test('images container: names of no image of the account are not found', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other } = fixture
  const id = await addImage(fixture)
  const hidden = [
    await addImage(fixture, { status: 'creating' }),
    await addImage(fixture, { accountId: other.session?.accountId ?? '' }),
  ]
  for (const name of [
    ...hidden,
    `${id}.vmdk`,
    `${id}.raw.raw`,
    `${id}/`,
    `x${id}`,
    'img-00000',
    'img-',
    'raw',
  ])
    await assert.rejects(orbit.objects.show(owner, at(fixture, name)), { kind: 'not_found' }, name)
})

test('images container: a disk that qcow2 cannot hold has no such form', async () => {
  class SmallForms extends MemoryContents {
    override async measure(): Promise<number> {
      throw new LibraryError('invalid', 'too large for qcow2')
    }
  }
  const contents = new SmallForms()
  await using fixture = await openOrbit({ contents })
  const id = await addImage({ ...fixture, contents })
  await assert.rejects(fixture.orbit.objects.show(fixture.owner, at(fixture, `${id}.qcow2`)), {
    kind: 'not_found',
  })
})

test('images container: an image that is destroyed meanwhile is not listed', async () => {
  await using fixture = await openOrbit()
  const [gone, stays] = [await addImage(fixture), await addImage(fixture, { size: 30_000 })]
  const { manifest } = (await fixture.catalog.images.find(gone)) ?? {}
  fixture.contents.manifests.delete(manifest ?? '')
  assert.deepEqual(await listed(fixture), [stays])
})

test('images container: only owners and holders of temporary URLs read it', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other } = fixture
  const id = await addImage(fixture)
  const storage = owner.session && {
    ...owner,
    session: { ...owner.session, permissions: 'storage' as const },
  }
  for (const caller of [other, ANYBODY, holder(fixture, 'write'), storage ?? ANYBODY]) {
    await assert.rejects(orbit.objects.show(caller, at(fixture, id)), { kind: 'denied' })
    await assert.rejects(orbit.objects.show(caller, at(fixture, 'none')), { kind: 'denied' })
    await assert.rejects(orbit.containers.show(caller, images(fixture)), { kind: 'denied' })
    await assert.rejects(orbit.containers.list(caller, images(fixture), EVERYTHING), { kind: 'denied' })
  }
  assert.equal((await orbit.objects.show(holder(fixture, 'read'), at(fixture, id))).size, 20_007)
})

test('images container: nobody writes there', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account } = fixture
  const id = await addImage(fixture)
  await fixture.put('o', 'bytes')
  const plain = { account, container: 'c', object: 'o' }
  const written = { content: { kind: 'inline', bytes: new Uint8Array() }, size: 0, md5: 'x' } as const
  const writes: Record<string, (caller: Caller, { objects, containers }: Orbit) => Promise<unknown>> = {
    put: (caller, { objects }) => objects.beginPut(caller, at(fixture, 'x'), { attributes: PLAIN, signal }),
    publish: (caller, { objects }) => objects.publish(caller, at(fixture, id), PLAIN, written),
    putStatic: (caller, { objects }) => objects.putStatic(caller, at(fixture, id), PLAIN, { entries: [] }),
    post: (caller, { objects }) => objects.update(caller, at(fixture, id), PLAIN),
    remove: (caller, { objects }) => objects.remove(caller, at(fixture, id)),
    removeStatic: (caller, { objects }) => objects.removeStatic(caller, at(fixture, id)),
    copyTo: (caller, { objects }) =>
      objects.copy(caller, plain, at(fixture, 'x'), { attributes: PLAIN, signal }),
    renameTo: (caller, { objects }) => objects.rename(caller, plain, at(fixture, 'x'), { replace: true }),
    renameFrom: (caller, { objects }) => objects.rename(caller, at(fixture, id), plain, { replace: true }),
    putContainer: (caller, { containers }) => containers.put(caller, images(fixture), { metadata: {} }),
    postContainer: (caller, { containers }) =>
      containers.update(caller, images(fixture), { metadata: { a: 'b' } }),
    removeContainer: (caller, { containers }) => containers.remove(caller, images(fixture)),
  }
  for (const caller of [owner, other, ANYBODY, holder(fixture, 'write'), holder(fixture, 'read')])
    for (const [name, write] of Object.entries(writes))
      await assert.rejects(write(caller, orbit), { kind: 'denied' }, name)
  assert.deepEqual(await listed(fixture), [id])
  assert.equal(await fixture.read('o'), 'bytes')
})

test('images container: an image is copied from it as an object of its bytes', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const id = await addImage(fixture)
  const to = { account, container: 'c', object: 'copy' }
  const { info } = await orbit.objects.copy(owner, at(fixture, `${id}.raw`), to, {
    attributes: PLAIN,
    signal,
  })
  assert.deepEqual([info.size, info.large], [20_000, undefined])
  assert.equal(await fixture.read('copy'), 'i'.repeat(20_000))
  await assert.rejects(
    orbit.objects.copy(owner, at(fixture, 'img-00000'), to, { attributes: PLAIN, signal }),
    { kind: 'not_found' },
  )
})

test('images container: an account without it may have a container of that name', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account, catalog } = fixture
  const id = await addImage(fixture)
  await catalog.orbitAccounts.setImagesContainer(account, false)
  await assert.rejects(orbit.objects.show(owner, at(fixture, id)), { kind: 'not_found' })
  assert.equal(await orbit.containers.put(owner, images(fixture), { metadata: {} }), true)
  const { info, rows } = await orbit.accounts.list(owner, account, EVERYTHING)
  assert.deepEqual([info.containerCount, rows.length], [2, 2])
})
