import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openSqlite } from './dialect-sqlite.ts'
import { imagesTable } from './images.ts'
import { withPlans } from './plans.fixtures.ts'
import { serversTable } from './servers.ts'
import { volumesTable } from './volumes.ts'

test('servers and volumes: no query reads what was deleted long ago, or what is of other accounts', async () => {
  await withPlans(async (plansOf, db) => {
    const context = { db, dialect: openSqlite(':memory:'), random: randomBytes, touch() {} }
    const servers = serversTable(context)
    const volumes = volumesTable(context)
    const images = imagesTable(context)
    for (const [run, ...indexes] of [
      [() => servers.list('a', 1), 'servers_own', 'servers_deleted'],
      [() => servers.sums('a'), 'servers_own'],
      [() => servers.listExisting(), 'servers_own|servers_slot'],
      [() => servers.listSshPorts(), 'servers_own|servers_slot'],
      [() => volumes.list('a', 1), 'volumes_own', 'volumes_deleted'],
      [() => volumes.sumSize('a'), 'volumes_own'],
      [() => volumes.ofServers(['s', 't']), 'volumes_server'],
      [() => volumes.listManifests(), 'volumes_manifest'],
      [() => images.ofServers(['s', 't']), 'images_snapshots'],
    ] as const) {
      const plan = (await plansOf(run)).join('\n')
      for (const index of indexes)
        assert.match(plan, new RegExp(`USING (COVERING )?INDEX (${index})\\b`), plan)
      assert.doesNotMatch(plan, /SCAN (servers|volumes|images)(?! USING (COVERING )?INDEX)/, plan)
    }
  })
})
