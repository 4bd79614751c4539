import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DISK_SIZE_MAX } from '#model/server-type.ts'
import { addServer, openLibrary, registerAvailable } from './library.fixtures.ts'

test('server types: one that a server was ever built as is not removed, but can be deprecated', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options } = fixture
  const { server } = await addServer(fixture, await registerAvailable(fixture))
  const { operator } = library
  await options.catalog.servers.update(server.id, { status: 'deleted', deletedAt: 1 }, ['active'])
  await assert.rejects(operator.removeServerType('1gb.ssd'), { code: 'conflict', hint: /deprecated/ })
  const type = await operator.updateServerType('1gb.ssd', { status: 'deprecated', ram: 2048 })
  assert.deepEqual(
    [type.id, type.status, type.ram, type.handle],
    [server.typeId, 'deprecated', 2048, '1gb.ssd'],
  )
  assert.equal((await options.catalog.servers.find(server.id))?.ram, 1024)
  const shown = (await library.serverTypes(owner)).find(({ id }) => id === type.id)
  assert.deepEqual(shown, type)
})

test('server types: a handle is taken once, and never looks like an id', async () => {
  await using fixture = await openLibrary()
  const { operator } = fixture.library
  const sizes = { cores: 1, ram: 1024, diskSize: 1024 }
  for (const handle of ['typ-abcde', '', '-x', 'a b', 'A', 'x'.repeat(64)])
    await assert.rejects(operator.addServerType({ handle, ...sizes }), { code: 'invalid' }, handle)
  await assert.rejects(operator.addServerType({ handle: 'a', ...sizes, name: 'a\u202eb' }), {
    code: 'invalid',
  })
  const results = await Promise.allSettled([
    operator.addServerType({ handle: 'a', ...sizes }),
    operator.addServerType({ handle: 'a', ...sizes }),
  ])
  assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
})

test('server types: a disk of 0 means network storage, and any other local', async () => {
  await using fixture = await openLibrary()
  const { operator } = fixture.library
  const net = await operator.addServerType({ handle: 'net', cores: 1, ram: 1024, diskSize: 0 })
  assert.deepEqual([net.storageType, net.status, net.name], ['network', 'available', 'net'])
  assert.equal((await operator.updateServerType(net.id, { diskSize: 1024 })).storageType, 'local')
})

test('server types: none has a disk that no server can have', async () => {
  await using fixture = await openLibrary()
  const { operator } = fixture.library
  const sizes = { handle: 'huge', cores: 1, ram: 1024 }
  const tooLarge = operator.addServerType({ ...sizes, diskSize: DISK_SIZE_MAX + 1 })
  await assert.rejects(tooLarge, { code: 'invalid', message: /disk must be .* from 0 to 16777216/ })
  assert.equal((await operator.addServerType({ ...sizes, diskSize: DISK_SIZE_MAX })).diskSize, DISK_SIZE_MAX)
})
