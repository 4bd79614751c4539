import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { LibraryError } from '#base/errors.ts'
import { buildRunning, openServers, type ServersFixture } from './servers.fixtures.ts'

const becomes = (at: ServersFixture, id: string, status: string) =>
  at.until(async () => (await at.statusOf(id)) === status)
const troubleOf = async (at: ServersFixture, id: string) =>
  (await at.catalog.servers.find(id))?.trouble?.message

async function destroyed(at: ServersFixture, id: string) {
  const { owner } = at.library
  assert.equal((await at.servers.destroy(owner, id)).server.status, 'deleting')
  await becomes(at, id, 'deleted')
  assert.equal((await at.servers.destroy(owner, id)).server.status, 'deleted')
  assert.deepEqual([await at.leftovers(), at.host.running(), [...at.host.exports]], [[], [], []])
  assert.deepEqual(at.host.wrongs, [])
}

test('destroy: while it is being built, it is neither built nor left', async () => {
  await using at = await openServers()
  const { owner } = at.library
  const reached = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  at.host.onStep = async (step) => {
    if (step !== 'started') return
    reached.resolve()
    await goOn.promise
  }
  const { server } = await at.servers.create(owner, { image: at.imageId })
  await reached.promise
  await at.servers.destroy(owner, server.id)
  goOn.resolve()
  await destroyed(at, server.id)
  assert.equal((await at.events(server.id)).includes('started'), false)
})

test('destroy: of a stopped one, of a locked one only once it is unlocked', async () => {
  await using at = await openServers()
  const { owner } = at.library
  const id = await buildRunning(at)
  await at.servers.lock(owner, id)
  await assert.rejects(at.servers.destroy(owner, id), { code: 'conflict', message: /locked/ })
  await at.servers.unlock(owner, id)
  await at.servers.stop(owner, id)
  await becomes(at, id, 'inactive')
  await destroyed(at, id)
  assert.equal((await at.servers.list(owner))[0]?.server.status, 'deleted')
  at.library.clock.at += 25 * 60 * 60 * 1000
  assert.deepEqual(await at.servers.list(owner), [])
  assert.equal((await at.servers.show(owner, id)).server.status, 'deleted')
})

test('destroy: what a snapshot still reads is there until it has read it', async () => {
  await using at = await openServers()
  const { library } = at
  const id = await buildRunning(at)
  const { image } = await at.servers.snapshot(library.owner, id)
  await at.servers.destroy(library.owner, id)
  await at.until(() => at.host.running().length === 0)
  assert.equal(await at.statusOf(id), 'deleting')
  assert.ok((await at.leftovers()).includes(`${id}/layer-0.qcow2`))
  ;(await library.scripted.call(1)).succeed()
  await becomes(at, id, 'deleted')
  assert.equal((await library.library.show(library.owner, image.id)).status, 'available')
  assert.deepEqual(await at.leftovers(), [])
})

test('guest: one that turns itself off is stopped, one whose QEMU dies says so, and both start again', async () => {
  await using at = await openServers()
  const { owner } = at.library
  const id = await buildRunning(at)
  await at.servers.shutdown(owner, id)
  await becomes(at, id, 'inactive')
  assert.equal(await troubleOf(at, id), undefined)
  await at.servers.start(owner, id)
  await becomes(at, id, 'active')
  at.host.running()[0]?.end('died')
  await becomes(at, id, 'inactive')
  assert.equal(await troubleOf(at, id), 'QEMU ended unexpectedly.')
  assert.equal((await at.catalog.servers.find(id))?.goal, 'stopped')
  await assert.rejects(at.servers.reset(owner, id), { code: 'conflict' })
  await at.servers.start(owner, id)
  await becomes(at, id, 'active')
  assert.equal(await troubleOf(at, id), undefined)
})

test('guest: one that the host holds is told once, tried again, and told when it goes on', async () => {
  await using at = await openServers()
  const id = await buildRunning(at)
  const [process] = at.host.running()
  assert.ok(process)
  let tries = 0
  at.host.onStep = (step) => {
    if (step === 'release' && ++tries < 4) throw new LibraryError('unavailable', 'not yet')
  }
  process.isHeld = true
  await at.until(async () => (await troubleOf(at, id))?.includes('held') === true)
  await at.until(async () => (await at.events(id)).includes('released'))
  await at.until(async () => (await troubleOf(at, id)) === undefined)
  assert.equal(tries, 4)
  assert.deepEqual((await at.events(id)).filter((event) => event === 'held').length, 1)
})

test('build: what can never work fails with the reason, and what may work later waits', async () => {
  await using at = await openServers()
  const { owner } = at.library
  let code: 'corrupt' | 'unavailable' = 'unavailable'
  at.host.onStep = (step) => {
    if (step === 'offer') throw new LibraryError(code, 'open the manifest: it is not there')
    // The base is not filled either.
    if (step === 'fill') throw new LibraryError(code, 'open the manifest: it is not there')
  }
  const { server } = await at.servers.create(owner, { image: at.imageId })
  await at.until(async () => (await troubleOf(at, server.id)) !== undefined)
  assert.equal(await at.statusOf(server.id), 'creating')
  code = 'corrupt'
  await becomes(at, server.id, 'failed')
  assert.match((await troubleOf(at, server.id)) ?? '', /could not be built: open the manifest/)
  await assert.rejects(at.servers.start(owner, server.id), { code: 'conflict' })
  await assert.rejects(at.servers.snapshot(owner, server.id), { code: 'conflict' })
  await destroyed(at, server.id)
})

test('fill: damage in the image is told, and the server runs on', async () => {
  await using at = await openServers()
  let isDamaged = true
  at.host.onStep = (step) => {
    if (step === 'fill half' && isDamaged) throw new LibraryError('corrupt', 'a block is damaged')
  }
  const id = await buildRunning(at)
  await at.until(async () => (await troubleOf(at, id))?.includes('damaged or missing') === true)
  assert.equal(await at.statusOf(id), 'active')
  isDamaged = false
  await at.until(async () => (await troubleOf(at, id)) === undefined)
})

test('fill: a store that is away is waited for and shown, and how far it is survives', async () => {
  await using at = await openServers()
  let isAway = true
  at.host.onStep = (step) => {
    if (step === 'fill half' && isAway) throw new LibraryError('unavailable', 'the store is away')
  }
  const id = await buildRunning(at)
  await at.until(async () => (await troubleOf(at, id))?.includes('cannot be copied') === true)
  assert.equal(await at.statusOf(id), 'active')
  assert.equal((await at.servers.show(at.library.owner, id)).volumes[0]?.standsAlone, false)
  isAway = false
  await at.until(async () => (await at.events(id)).includes('filled'))
  await at.until(async () => (await troubleOf(at, id)) === undefined)
  assert.deepEqual([[...at.host.exports], at.host.wrongs], [[], []])
})

test('image: destroyed while a server runs from it, it is missed by nobody', async () => {
  await using at = await openServers()
  const { library, host } = at
  const { owner } = library
  const goOn = Promise.withResolvers<void>()
  host.onStep = (step) => (step === 'fill half' ? goOn.promise : undefined)
  const id = await buildRunning(at)
  await library.library.destroy(owner, at.imageId)
  const early = await at.servers.snapshot(owner, id)
  const call = await library.scripted.call(1)
  assert.ok(call.request.source.kind === 'volume' && 'manifest' in call.request.source.base)
  call.succeed()
  goOn.resolve()
  await at.until(async () => (await at.events(id)).includes('filled'))
  const late = await at.servers.snapshot(owner, id)
  const { source } = (await library.scripted.call(2)).request
  assert.ok(source.kind === 'volume' && 'file' in source.base)
  assert.match(source.base.file, /\/bases\/(ab){32}$/)
  ;(await library.scripted.call(2)).succeed()
  assert.notEqual(early.image.id, late.image.id)
  assert.equal(late.image.ancestorId, at.imageId)
  assert.equal(late.shown.snapshots.length, 2)
  await library.options.jobs.settled()
  await destroyed(at, id)
})

test('bases: two servers of an image share one, which goes with the last of them', async () => {
  await using at = await openServers()
  const one = await buildRunning(at)
  const two = await buildRunning(at)
  for (const id of [one, two]) await at.until(async () => (await at.events(id)).includes('filled'))
  assert.equal(at.host.steps.filter((step) => step === 'fill').length, 1)
  await at.servers.destroy(at.library.owner, one)
  await becomes(at, one, 'deleted')
  assert.ok((await at.leftovers()).some((name) => name.startsWith('bases/')))
  await destroyed(at, two)
})

test('snapshot: that QEMU refuses leaves the layers as they were, and one too many waits', async () => {
  await using at = await openServers()
  const { owner } = at.library
  const id = await buildRunning(at)
  at.host.onStep = (step) => {
    if (step === 'addLayer') throw new LibraryError('unavailable', 'QEMU does not answer')
  }
  await assert.rejects(at.servers.snapshot(owner, id), { code: 'unavailable' })
  assert.deepEqual((await at.catalog.volumes.ofServers([id]))[0]?.layers, ['layer-0.qcow2'])
  assert.equal((await at.leftovers()).includes(`${id}/layer-1.qcow2`), false)
  at.host.onStep = () => {}
  for (let count = 0; count < 15; count++) await at.servers.snapshot(owner, id)
  await assert.rejects(at.servers.snapshot(owner, id), { code: 'conflict', message: /15 snapshots/ })
  assert.deepEqual(at.host.wrongs, [])
})

test('begin: machines and folders that belong to no server go', async () => {
  await using at = await openServers()
  const id = await buildRunning(at)
  await at.catalog.servers.update(id, { status: 'deleted' }, ['active'])
  const [volume] = await at.catalog.volumes.ofServers([id])
  await at.catalog.volumes.update(volume?.id ?? '', { status: 'deleted' })
  await at.restart()
  assert.deepEqual([at.host.running(), await at.leftovers()], [[], []])
})

test('restart: one whose QEMU is missed late is active as soon as it runs again', async () => {
  await using at = await openServers()
  const id = await buildRunning(at)
  // Else it is looked at again when its base is there.
  await at.until(async () => (await at.catalog.volumes.ofServers([id]))[0]?.standsAlone === true)
  let isFirst = true
  at.host.onStep = (step) => {
    if (step !== 'find' || !isFirst) return
    isFirst = false
    at.host.running()[0]?.end('died')
    throw new LibraryError('unavailable', 'the system is busy')
  }
  await at.restart()
  const starts = async () => (await at.events(id)).filter((event) => event === 'started').length
  // No time passes meanwhile.
  for (let turns = 0; turns < 1000 && (await starts()) < 2; turns++) await turn()
  assert.deepEqual([await starts(), await at.statusOf(id)], [2, 'active'])
})
