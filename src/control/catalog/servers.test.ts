import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import type { Server } from '#model/server.ts'
import type { Volume } from '#model/volume.ts'
import { onEach } from '../../../test/support/catalogs.ts'
import { storedImage } from '../../../test/support/fake-servers.ts'
import { openCatalog, type Tables } from './catalog.ts'

const SERVER: Omit<Server, 'id' | 'slot' | 'accountId' | 'imageId'> = {
  name: '',
  status: 'creating',
  goal: 'running',
  locked: false,
  typeId: 'typ-w0hf9',
  cores: 1,
  ram: 1024,
  zoneId: 'zon-gb1aa',
  compatibilityMode: true,
  userData: null,
  macAddress: '02:24:19:00:00:01',
  sshPort: null,
  accelerator: null,
  trouble: null,
  console: null,
  createdAt: 1,
  startedAt: null,
  deletedAt: null,
  updatedAt: 1,
}

const VOLUME: Omit<Volume, 'id' | 'accountId' | 'serverId' | 'imageId'> = {
  name: null,
  status: 'attached',
  size: 40 * 2 ** 40,
  manifest: 'ab'.repeat(32),
  imageSize: 2 ** 30,
  filled: 0,
  standsAlone: false,
  layers: ['layer-0.qcow2', 'layer-1.qcow2'],
  createdAt: 1,
  updatedAt: 1,
  deletedAt: null,
}

async function addOwner(tables: Tables) {
  const { id: accountId } = await tables.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
  const { id: _drawn, ...image } = storedImage({ accountId })
  const { id: imageId } = await tables.images.insert(image)
  return { accountId, imageId }
}

const addServer = async (
  tables: Tables,
  owner: { accountId: string; imageId: string },
  change: Partial<Omit<Server, 'id' | 'slot'>> = {},
) => tables.servers.insert({ ...SERVER, ...owner, ...change })

async function temporaryFile() {
  const folder = await mkdtemp(join(tmpdir(), 'catalog-'))
  return {
    path: join(folder, 'catalog.db'),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}

onEach('servers: one of an image, a type or a zone that there is not is refused', async (open) => {
  await using catalog = await open()
  const owner = await addOwner(catalog)
  for (const change of [{ imageId: 'img-zzzzz' }, { typeId: 'typ-zzzzz' }, { zoneId: 'zon-zzzzz' }])
    await assert.rejects(addServer(catalog, owner, change), /foreign key/i)
  assert.deepEqual(await catalog.servers.listExisting(), [])
})

onEach('servers: they are counted by status, those that are deleted left out', async (open) => {
  await using catalog = await open()
  assert.deepEqual(await catalog.servers.countByStatus(), [])
  const owner = await addOwner(catalog)
  for (const status of ['active', 'active', 'creating', 'deleted'] as const)
    await addServer(catalog, owner, { status, deletedAt: status === 'deleted' ? 1 : null })
  const counts = await catalog.servers.countByStatus()
  assert.deepEqual(
    counts.toSorted((a, b) => b.count - a.count),
    [
      { status: 'active', count: 2 },
      { status: 'creating', count: 1 },
    ],
  )
})

onEach('servers: a change is made only in the statuses it is meant for', async (open) => {
  await using catalog = await open()
  const { id } = await addServer(catalog, await addOwner(catalog))
  assert.equal(await catalog.servers.update(id, { status: 'active' }, ['inactive']), undefined)
  assert.equal(await catalog.servers.update(id, { status: 'active' }, []), undefined)
  assert.equal(await catalog.servers.update('srv-zzzzz', { status: 'active' }, ['creating']), undefined)
  assert.equal((await catalog.servers.find(id))?.status, 'creating')
})

onEach('servers: what was written is read back in all columns', async (open) => {
  await using catalog = await open()
  const made = await addServer(catalog, await addOwner(catalog))
  assert.deepEqual(await catalog.servers.find(made.id), made)
  const change = {
    name: 'web é',
    status: 'active',
    goal: 'stopped',
    locked: true,
    compatibilityMode: false,
    userData: '#cloud-config\n',
    sshPort: 2201,
    accelerator: 'tcg',
    trouble: { message: 'The disk is full.', hint: 'Make room.' },
    console: { tokenSha256: 'ab'.repeat(32), expiresAt: 9, madeBy: { clientId: 'cli-12345', userId: null } },
    startedAt: 5,
    updatedAt: 6,
  } as const
  assert.deepEqual(await catalog.servers.update(made.id, change, ['creating']), { ...made, ...change })
  const ended = { trouble: null, console: null }
  assert.deepEqual(await catalog.servers.update(made.id, ended, ['active']), { ...made, ...change, ...ended })
})

onEach(
  'servers: slots are the smallest free ones, and only those of deleted servers come again',
  async (open) => {
    await using catalog = await open()
    const owner = await addOwner(catalog)
    const servers: Server[] = []
    for (let count = 0; count < 4; count++) servers.push(await addServer(catalog, owner))
    assert.deepEqual(
      servers.map(({ slot }) => slot),
      [0, 1, 2, 3],
    )
    for (const index of [0, 2])
      await catalog.servers.update(servers[index]!.id, { status: 'deleted', deletedAt: 2 }, ['creating'])
    await catalog.servers.update(servers[1]!.id, { status: 'failed' }, ['creating'])
    const again = [
      await addServer(catalog, owner),
      await addServer(catalog, owner),
      await addServer(catalog, owner),
    ]
    assert.deepEqual(
      again.map(({ slot }) => slot),
      [0, 2, 4],
    )
  },
)

onEach('servers: an id that is taken is drawn again without a slot being left out', async (open) => {
  let draws = 0
  const random = (count: number) => new Uint8Array(count).fill(Math.floor(draws++ / 3))
  await using catalog = await open(random)
  const owner = await addOwner(catalog)
  const servers = await catalog.transaction(async (tables) => [
    await addServer(tables, owner),
    await addServer(tables, owner),
  ])
  assert.equal(new Set(servers.map(({ id }) => id)).size, 2)
  assert.deepEqual(
    servers.map(({ slot }) => slot),
    [0, 1],
  )
})

onEach('servers: two processes that insert at once never share a slot', async (open) => {
  await using one = await open()
  await using two = await open()
  const owner = await addOwner(one)
  const slots = (
    await Promise.all(Array.from({ length: 20 }, (_, index) => addServer(index % 2 === 0 ? one : two, owner)))
  ).map(({ slot }) => slot)
  assert.deepEqual(
    slots.sort((a, b) => a - b),
    Array.from({ length: 20 }, (_, slot) => slot),
  )
})

test('servers: the database itself forbids a slot twice, but not that of a deleted one', async () => {
  await using file = await temporaryFile()
  await using catalog = await openCatalog({ path: file.path })
  const owner = await addOwner(catalog)
  const first = await addServer(catalog, owner)
  const second = await addServer(catalog, owner)
  using database = new DatabaseSync(file.path)
  const clash = database.prepare('update servers set slot = ? where id = ?')
  assert.throws(() => clash.run(first.slot, second.id), /UNIQUE/)
  await catalog.servers.update(first.id, { status: 'deleted', deletedAt: 2 }, ['creating'])
  clash.run(first.slot, second.id)
})

onEach(
  'servers and volumes: lists have what exists and was deleted lately, oldest first, of one account',
  async (open) => {
    await using catalog = await open()
    const owner = await addOwner(catalog)
    const other = await addOwner(catalog)
    const seed = randomBytes(60)
    console.log(`seed ${seed.toString('hex')}`)
    const servers: Server[] = []
    const volumes: Volume[] = []
    for (const byte of seed) {
      const whose = byte % 4 === 0 ? other : owner
      const deletedAt = byte % 3 === 0 ? byte : null
      const createdAt = byte % 16
      const status = deletedAt === null ? ({} as const) : ({ status: 'deleted', deletedAt } as const)
      const server = await addServer(catalog, whose, { createdAt, ...status })
      servers.push(server)
      volumes.push(
        await catalog.volumes.insert({ ...VOLUME, ...whose, serverId: server.id, createdAt, ...status }),
      )
    }
    const expected = (all: readonly (Server | Volume)[], since: number) =>
      all
        .filter(({ accountId }) => accountId === owner.accountId)
        .filter(({ deletedAt }) => deletedAt === null || deletedAt >= since)
        .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
    for (const since of [0, 100, 101, 200, 1000]) {
      assert.deepEqual(await catalog.servers.list(owner.accountId, since), expected(servers, since))
      assert.deepEqual(await catalog.volumes.list(owner.accountId, since), expected(volumes, since))
    }
    assert.equal(
      (await catalog.servers.listExisting()).length,
      servers.filter(({ deletedAt }) => deletedAt === null).length,
    )
    const ids = servers.map(({ id }) => id)
    assert.equal((await catalog.volumes.ofServers(ids)).length, volumes.length)
    assert.deepEqual(await catalog.volumes.ofServers([]), [])
  },
)

onEach(
  'servers: sums and ports leave out what is deleted, and are those of nothing at first',
  async (open) => {
    await using catalog = await open()
    const owner = await addOwner(catalog)
    assert.deepEqual(await catalog.servers.sums(owner.accountId), { servers: 0, ram: 0 })
    assert.equal(await catalog.volumes.sumSize(owner.accountId), 0)
    const kept = await addServer(catalog, owner, { sshPort: 2200, ram: 512 })
    const gone = await addServer(catalog, owner, { sshPort: 2201, status: 'deleting' })
    await addServer(catalog, await addOwner(catalog), { sshPort: 2202 })
    const disk = await catalog.volumes.insert({ ...VOLUME, ...owner, serverId: gone.id })
    await catalog.volumes.insert({ ...VOLUME, ...owner, serverId: kept.id, size: 5 })
    assert.deepEqual(await catalog.servers.sums(owner.accountId), { servers: 2, ram: 1536 })
    assert.equal(await catalog.volumes.sumSize(owner.accountId), VOLUME.size + 5)
    await catalog.servers.update(gone.id, { status: 'deleted', deletedAt: 2 }, ['deleting'])
    await catalog.volumes.update(disk.id, { status: 'deleted', deletedAt: 2 })
    assert.deepEqual(await catalog.servers.sums(owner.accountId), { servers: 1, ram: 512 })
    assert.equal(await catalog.volumes.sumSize(owner.accountId), 5)
    assert.deepEqual(await catalog.servers.listSshPorts(), [2200, 2202])
  },
)

onEach('volumes: manifests are needed until the volume stands alone or is gone', async (open) => {
  await using catalog = await open()
  const owner = await addOwner(catalog)
  const { id: serverId } = await addServer(catalog, owner)
  const add = (manifest: string) => catalog.volumes.insert({ ...VOLUME, ...owner, serverId, manifest })
  const [one, two] = [await add('m1'), await add('m2'), await add('m2')]
  assert.deepEqual((await catalog.volumes.listManifests()).sort(), ['m1', 'm2'])
  const filled = await catalog.volumes.update(one.id, { standsAlone: true, filled: one.imageSize })
  assert.deepEqual(filled, { ...one, standsAlone: true, filled: one.imageSize })
  await catalog.volumes.update(two.id, { status: 'deleted', deletedAt: 1 })
  assert.deepEqual(await catalog.volumes.listManifests(), ['m2'])
  assert.equal(await catalog.volumes.update('vol-zzzzz', { filled: 1 }), undefined)
  assert.deepEqual((await catalog.volumes.find(one.id))?.layers, VOLUME.layers)
})

onEach('server types: one that a server was ever built as stays, others can be removed', async (open) => {
  await using catalog = await open()
  const owner = await addOwner(catalog)
  const type = await catalog.serverTypes.insert({
    name: 'Tiny',
    handle: 'tiny',
    status: 'available',
    cores: 1,
    ram: 128,
    diskSize: 1024,
    storageType: 'local',
  })
  assert.deepEqual(await catalog.serverTypes.find('tiny'), type)
  assert.deepEqual(await catalog.serverTypes.find(type.id), type)
  const { id } = await addServer(catalog, owner, { typeId: type.id, status: 'deleted', deletedAt: 1 })
  assert.equal(await catalog.serverTypes.remove(type.id), false)
  assert.equal(await catalog.serverTypes.remove('typ-05ssd'), true)
  assert.equal(await catalog.serverTypes.remove('typ-05ssd'), false)
  assert.equal(await catalog.serverTypes.find('512mb.ssd'), undefined)
  const changed = await catalog.serverTypes.update(type.id, { ram: 256, status: 'deprecated' })
  assert.deepEqual(changed, { ...type, ram: 256, status: 'deprecated' })
  // What was built before keeps the size that it was built with.
  assert.equal((await catalog.servers.find(id))?.ram, 1024)
})

onEach('zones: are found by id and by handle', async (open) => {
  await using catalog = await open()
  assert.deepEqual(await catalog.zones.find('gb1-b'), { id: 'zon-gb1bb', handle: 'gb1-b' })
  assert.deepEqual(await catalog.zones.find('zon-gb1bb'), { id: 'zon-gb1bb', handle: 'gb1-b' })
  assert.equal(await catalog.zones.find('gb1'), undefined)
})

onEach('accounts: limits are by default until they are set, each by itself, and set back', async (open) => {
  await using catalog = await open()
  const { accountId } = await addOwner(catalog)
  const byDefault = { servers: 'default', ram: 'default', disk: 'default' } as const
  assert.deepEqual(await catalog.accounts.limits(accountId), byDefault)
  assert.deepEqual(await catalog.accounts.limits('acc-zzzzz'), byDefault)
  await catalog.accounts.setLimits(accountId, {})
  await catalog.accounts.setLimits(accountId, { servers: 0, ram: 'none' })
  await catalog.accounts.setLimits(accountId, { disk: 2048 })
  assert.deepEqual(await catalog.accounts.limits(accountId), { servers: 0, ram: 'none', disk: 2048 })
  await catalog.accounts.setLimits(accountId, byDefault)
  assert.deepEqual(await catalog.accounts.limits(accountId), byDefault)
})

test('migration: a catalog of before servers keeps what it has and gets their tables', async () => {
  await using file = await temporaryFile()
  await (await openCatalog({ path: file.path, upTo: '0003-ssh-keys' }))[Symbol.asyncDispose]()
  const owner = { accountId: 'acc-00001', imageId: 'img-00001' }
  {
    using database = new DatabaseSync(file.path)
    database.exec(`insert into accounts (id, name, status, created_at) values ('acc-00001', 'a', 'active', 1);
      insert into images (id, account_id, name, arch, status, source_type, source_trigger, public, official,
        compatibility_mode, locked, virtual_size, data_size, manifest, provenance, created_at, updated_at)
      values ('img-00001', 'acc-00001', 'i', 'x86_64', 'available', 'http', 'manual', 0, 0,
        0, 0, 1, 1, 'ab', '{}', 1, 1)`)
  }
  await using catalog = await openCatalog({ path: file.path })
  assert.equal((await catalog.images.find(owner.imageId))?.manifest, 'ab')
  assert.equal((await catalog.accounts.limits(owner.accountId)).ram, 'default')
  assert.equal((await addServer(catalog, owner)).slot, 0)
})
