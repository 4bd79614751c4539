import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildRunning, openServers } from './servers.fixtures.ts'

test('server: built, filled, snapped, stopped, started and destroyed, it leaves nothing behind', async () => {
  await using at = await openServers()
  const { library } = at
  const { owner } = library
  const id = await buildRunning(at)
  at.host.running()[0]?.write('hello')
  await at.until(async () => (await at.events(id)).includes('filled'))
  const { shown, image } = await at.servers.snapshot(owner, id)
  assert.deepEqual(
    shown.snapshots.map((snapshot) => snapshot.id),
    [image.id],
  )
  ;(await library.scripted.call(1)).succeed()
  await at.until(async () => (await library.library.show(owner, image.id)).status === 'available')
  at.host.running()[0]?.write('world')
  assert.deepEqual(await at.diskOf(id), ['hello', 'world'])
  await at.servers.stop(owner, id)
  await at.until(async () => (await at.statusOf(id)) === 'inactive')
  await at.servers.start(owner, id)
  await at.until(async () => (await at.statusOf(id)) === 'active')
  assert.deepEqual(await at.diskOf(id), ['hello', 'world'])
  await at.servers.destroy(owner, id)
  await at.until(async () => (await at.statusOf(id)) === 'deleted')
  assert.deepEqual(await at.leftovers(), [])
  assert.deepEqual([at.host.running(), [...at.host.exports], at.host.wrongs], [[], [], []])
  assert.deepEqual(await at.events(id), [
    'created',
    'started',
    'filled',
    'snapshot',
    'stopping',
    'stopped',
    'starting',
    'started',
    'deleting',
    'deleted',
  ])
})
