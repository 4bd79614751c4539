import assert from 'node:assert/strict'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestCatalog } from '../../test/support/catalogs.ts'
import { holdServers } from './servers-home.ts'

async function setUp() {
  const parent = await mkdtemp(join(tmpdir(), 'home-'))
  const catalog = await openTestCatalog()
  const clock = { at: 1_000_000 }
  const log = { info() {}, warn() {}, error() {} }
  const lost: string[] = []
  return {
    ...{ parent, catalog, clock, lost },
    hold: (name: string, more: { isShared?: boolean; renewMs?: number } = {}) =>
      holdServers({
        ...{ catalog, log, isShared: true, now: () => clock.at, ...more },
        folder: join(parent, name),
        onLost: () => void lost.push(name),
      }),
    /** So that there is one. */
    async addServer() {
      const { id: accountId } = await catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
      const servers = { listExisting: async () => [accountId] }
      const { transaction } = catalog
      Object.assign(catalog, {
        transaction: (work: (tables: object) => Promise<unknown>) =>
          transaction((tables) => work({ ...tables, servers })),
      })
    },
    async [Symbol.asyncDispose]() {
      await catalog[Symbol.asyncDispose]()
      await rm(parent, { recursive: true })
    },
  }
}

test('servers: one process runs them, and another one that would is told', async () => {
  await using world = await setUp()
  const first = await world.hold('one')
  await assert.rejects(world.hold('two'), /another process does/)
  await first[Symbol.asyncDispose]()
  const second = await world.hold('two')
  await second[Symbol.asyncDispose]()
})

test('servers: who died with their folder has them again at once', async () => {
  await using world = await setUp()
  await using _dead = await world.hold('one')
  await using _again = await world.hold('one')
})

test('servers: where there are some, no other folder has them, however long nobody runs them', async () => {
  await using world = await setUp()
  await (await world.hold('one'))[Symbol.asyncDispose]()
  await world.addServer()
  world.clock.at += 3600_000
  await assert.rejects(world.hold('two'), /their disks are not in/)
  await rename(join(world.parent, 'one'), join(world.parent, 'moved'))
  await (await world.hold('moved'))[Symbol.asyncDispose]()
})

test('servers: in a catalog that nobody shares, the folder is as it is', async () => {
  await using world = await setUp()
  await (await world.hold('one', { isShared: false }))[Symbol.asyncDispose]()
  await world.addServer()
  await (await world.hold('two', { isShared: false }))[Symbol.asyncDispose]()
  await assert.rejects(world.hold('one'), /their disks are not in/)
})

test('servers: a process that stood still while another took them is told', async () => {
  await using world = await setUp()
  await using _slow = await world.hold('one', { renewMs: 50 })
  world.clock.at += 3600_000
  await world.catalog.leases.take({ name: 'servers', holder: 'other', now: world.clock.at, lastsMs: 60_000 })
  while (world.lost.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
  assert.deepEqual(world.lost, ['one'])
})
