import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'
import { createJobQueue } from '#control/jobs/queue.ts'
import { createLibrary } from './create-library.ts'
import type { LibraryOptions } from './deps.ts'
import { addServer, openLibrary, REGISTER, registerAvailable, snapshotOf } from './library.fixtures.ts'
import type { SnapshotOf } from './library.ts'

/** A library with a server of an available image, and what was told of volumes that were read. */
async function open(change: Partial<LibraryOptions> = {}) {
  const read: string[] = []
  const fixture = await openLibrary({ onVolumeRead: (serverId) => read.push(serverId), ...change })
  const image = await registerAvailable(fixture, {
    username: 'admin',
    minRam: 512,
    compatibilityMode: true,
    arch: 'i686',
  })
  const { server } = await addServer(fixture, image)
  const { library, owner, options } = fixture
  const snapshot = async (more: Partial<SnapshotOf> = {}) => {
    const made = await options.catalog.transaction((tables) =>
      library.snapshots.register(tables, snapshotOf(server, image, owner, more)),
    )
    library.snapshots.wake()
    return made
  }
  const frozen = () => library.snapshots.frozenLayers(options.catalog, server.id)
  const dispose = () => fixture[Symbol.asyncDispose]()
  return { ...fixture, image, server, read, snapshot, frozen, [Symbol.asyncDispose]: dispose }
}

const messagesOf = (events: readonly { message: string }[]) => events.map(({ message }) => message)

test('snapshot: over the size limit, it is failed with the reason and its layers are let go', async () => {
  await using at = await open()
  const { id } = await at.snapshot()
  const message = 'The disk holds more data than a snapshot may.'
  ;(await at.scripted.call(1)).fail(new Refusal('too-large', message))
  await at.options.jobs.settled()
  const { status, failure } = await at.library.show(at.owner, id)
  assert.deepEqual([status, failure?.code, failure?.message], ['failed', 'too-large', message])
  assert.doesNotMatch(failure?.hint ?? '', /URL|register/)
  assert.deepEqual([await at.frozen(), at.read], [new Set(), [at.server.id]])
})

test('snapshot: a full disk is tried again with its layers kept, and in the end told as what it is', async () => {
  await using at = await open()
  const { id } = await at.snapshot()
  for (let attempt = 1; attempt <= 5; attempt++) {
    ;(await at.scripted.call(attempt)).fail(new LibraryError('unavailable', 'write a block: full'))
    await at.options.jobs.settled()
    if (attempt === 5) break
    assert.deepEqual([(await at.frozen()).size, at.read], [2, []])
    at.clock.at += 60_000
    await at.step()
  }
  const { failure } = await at.library.show(at.owner, id)
  assert.equal(failure?.code, 'storage')
  assert.match(failure?.hint ?? '', /once the storage is well, try again/)
  assert.deepEqual([(await at.frozen()).size, at.read], [0, [at.server.id]])
})

test('snapshot: a fault of our own is told without its details', async () => {
  await using at = await open()
  const { id } = await at.snapshot()
  ;(await at.scripted.call(1)).fail(new Error('EACCES /data/servers/x'))
  await at.options.jobs.settled()
  const { failure } = await at.library.show(at.owner, id)
  assert.deepEqual(
    [failure?.code, failure?.message],
    ['internal', 'The snapshot failed for a reason inside the library.'],
  )
})

test('snapshot: destroying its image cancels it, and its layers are let go at once', async () => {
  await using at = await open()
  const { id } = await at.snapshot()
  const call = await at.scripted.call(1)
  assert.deepEqual(at.read, [])
  await at.library.destroy(at.owner, id)
  assert.deepEqual([call.signal.aborted, at.read], [true, [at.server.id]])
  assert.deepEqual(await at.frozen(), new Set())
  await at.options.jobs.settled()
  assert.equal((await at.library.show(at.owner, id)).status, 'deleting')
})

test('snapshot: the quota of images is asked before and after, as for any registration', async () => {
  await using at = await open({ quota: 2048 })
  const { id } = await at.snapshot()
  ;(await at.scripted.call(1)).succeed({ dataSize: 1025 })
  await at.options.jobs.settled()
  assert.equal((await at.library.show(at.owner, id)).failure?.code, 'quota')
  assert.deepEqual(at.read, [at.server.id])
  await registerAvailable(at)
  const events = (await at.library.events(at.owner)).length
  await assert.rejects(at.snapshot(), { code: 'denied', name: 'QuotaExceeded' })
  assert.equal((await at.library.events(at.owner)).length, events)
})

test('snapshot: one in a transaction that fails leaves neither image nor job', async () => {
  await using at = await open()
  const { library, options, owner, image, server } = at
  const failing = options.catalog.transaction(async (tables) => {
    await library.snapshots.register(tables, snapshotOf(server, image, owner))
    throw new Error('stop')
  })
  await assert.rejects(failing, /stop/)
  assert.equal((await library.list(owner)).length, 1)
  assert.deepEqual(await at.frozen(), new Set())
})

test('snapshot: is an image named as asked, with what its ancestor says, of the server as its source', async () => {
  await using at = await open()
  const made = await at.snapshot({ compatibilityMode: false })
  const shown = await at.library.show(at.owner, made.id)
  const { ancestor, ...image } = shown
  assert.deepEqual(image, made)
  assert.equal(ancestor?.id, at.image.id)
  assert.deepEqual(
    [image.name, image.description, image.source, image.sourceType, image.sourceTrigger, image.status],
    ['Snapshot of web', 'a text', at.server.id, 'snapshot', 'manual', 'creating'],
  )
  assert.deepEqual(
    [image.arch, image.username, image.minRam, image.compatibilityMode, image.public],
    ['i686', 'admin', 512, false, false],
  )
})

test('snapshot: its disk is read from the base and the layers in the folder, and then available', async () => {
  await using at = await open()
  const { id } = await at.snapshot()
  const call = await at.scripted.call(1)
  assert.deepEqual(call.request.source, {
    kind: 'volume',
    size: 40 * 2 ** 30,
    base: { manifest: 'ab'.repeat(32) },
    layers: ['/servers/srv/layer-0.qcow2', '/servers/srv/layer-1.qcow2'],
    dataLimit: 5000,
  })
  assert.equal(call.request.expectedSha256, undefined)
  assert.deepEqual(await at.frozen(), new Set(['layer-0.qcow2', 'layer-1.qcow2']))
  call.succeed({ formatChain: 'volume', virtualSize: 40 * 2 ** 30 })
  await at.options.jobs.settled()
  const image = await at.library.show(at.owner, id)
  assert.deepEqual([image.status, image.progress?.percent], ['available', 100])
  assert.deepEqual([image.provenance.url, image.provenance.formatChain], [null, 'volume'])
  assert.deepEqual([at.read, await at.frozen()], [[at.server.id], new Set()])
  assert.deepEqual(messagesOf(await at.library.events(at.owner, id)), [
    `The snapshot of server ${at.server.id} was taken.`,
    "The server's disk is being read.",
    `The image is available: a disk of ${40 * 2 ** 30} bytes, 1024 of them data, 512 of them new here.`,
  ])
})

test('snapshot: of a volume that stands alone, the base in the folder is read', async () => {
  await using at = await open()
  await at.snapshot({ manifest: undefined, layers: [] })
  const { source } = (await at.scripted.call(1)).request
  assert.deepEqual(source.kind === 'volume' && source.base, { file: '/servers/srv/base.raw' })
})

test('frozen layers: are those of all snapshots of that server, and of no other server or registration', async () => {
  await using at = await open()
  const { library, options, owner, image } = at
  const { server: other } = await addServer(at, image)
  await library.register(owner, REGISTER)
  await at.snapshot({ layers: ['layer-0.qcow2'] })
  await at.snapshot({ layers: ['layer-0.qcow2', 'layer-3.qcow2'] })
  await options.catalog.transaction((tables) =>
    library.snapshots.register(tables, snapshotOf(other, image, owner, { layers: ['layer-9.qcow2'] })),
  )
  assert.deepEqual(await at.frozen(), new Set(['layer-0.qcow2', 'layer-3.qcow2']))
  assert.deepEqual(
    await library.snapshots.frozenLayers(options.catalog, other.id),
    new Set(['layer-9.qcow2']),
  )
  assert.deepEqual(await library.snapshots.frozenLayers(options.catalog, 'srv-zzzzz'), new Set())
})

test('a process that dies while a snapshot is read: the next one reads it again, and lets go then', async () => {
  await using at = await open()
  const { options, owner, clock } = at
  const { id } = await at.snapshot()
  await at.scripted.call(1)
  await options.jobs[Symbol.asyncDispose]()
  assert.deepEqual(at.read, [])
  clock.at += 1
  await using jobs = createJobQueue({ ...options, owner: 'next', random: randomBytes })
  await using next = createLibrary({ ...options, jobs })
  await next.start()
  ;(await at.scripted.call(2)).succeed()
  await jobs.settled()
  assert.equal((await next.show(owner, id)).status, 'available')
  assert.deepEqual(at.read, [at.server.id])
})

test('start: a snapshot that lost its job is ended', async () => {
  await using at = await open()
  const { library, options, owner } = at
  const made = await options.catalog.transaction(async (tables) => {
    const made = await library.snapshots.register(tables, snapshotOf(at.server, at.image, owner))
    await tables.jobs.remove('snapshot', made.id)
    return made
  })
  await library.start()
  const { status, failure } = await library.show(owner, made.id)
  assert.deepEqual([status, failure?.code], ['failed', 'internal'])
})

test('events: those of a server are read by its account alone, and stand among all of it', async () => {
  await using at = await open()
  const { library, options, owner, other, server } = at
  await options.catalog.transaction((tables) =>
    tables.events.add({
      accountId: owner.accountId,
      resourceId: server.id,
      action: 'server.created',
      message: 'The server was created.',
      actor: { clientId: owner.clientId, userId: null },
      createdAt: 1,
    }),
  )
  for (const session of [other, { ...other, permissions: 'storage' as const }])
    await assert.rejects(library.events(session, server.id), { code: /not_found|denied/ })
  await assert.rejects(library.events(other, server.id), {
    code: 'not_found',
    message: `server ${server.id} does not exist`,
  })
  await assert.rejects(library.events(owner, 'srv-zzzzz'), { code: 'not_found' })
  await assert.rejects(library.events({ ...owner, permissions: 'storage' }, server.id), { code: 'denied' })
  assert.deepEqual(messagesOf(await library.events(owner, server.id)), ['The server was created.'])
  assert.equal((await library.events(owner)).at(-1)?.resourceId, server.id)
  await options.catalog.servers.update(server.id, { status: 'deleted', deletedAt: 1 }, ['active'])
  assert.equal((await library.events(owner, server.id)).length, 1)
  const signal = AbortSignal.timeout(5000)
  for await (const event of library.watch(owner, server.id, 0, signal)) {
    assert.equal(event.action, 'server.created')
    break
  }
})

test('snapshot: slow downloads of the same account keep it from nothing', async () => {
  await using at = await open()
  const { library, options, owner, scripted } = at
  for (let i = 0; i < 9; i++) await library.register(owner, REGISTER)
  await options.jobs.poll()
  // The image itself, and the one for which there is a place.
  await scripted.call(1)
  const slow = scripted.calls.length
  await options.catalog.transaction((tables) =>
    library.snapshots.register(tables, snapshotOf(at.server, at.image, owner)),
  )
  await options.jobs.poll()
  assert.equal((await scripted.call(slow)).request.source.kind, 'volume')
  assert.equal(scripted.calls.length, slow + 1)
})

test('registration: a hundred slow ones of an account leave a place for another', async () => {
  await using at = await open()
  const { library, options, owner, other, scripted } = at
  const before = scripted.calls.length
  for (let i = 0; i < 100; i++) await library.register(owner, REGISTER)
  await library.register(other, { ...REGISTER, httpUrl: 'http://other.test/' })
  await options.jobs.poll()
  // Those that may run at once.
  await scripted.call(before + 1)
  const urls = scripted.calls
    .slice(before)
    .map(({ request: { source } }) => source.kind === 'http' && source.url)
  assert.equal(urls.filter((url) => url === 'http://other.test/').length, 1)
})
