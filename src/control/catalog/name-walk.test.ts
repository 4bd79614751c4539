import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openSqlite } from './dialect-sqlite.ts'
import { type NameWalk, walkNames } from './name-walk.ts'
import { objectsTable } from './objects.ts'
import { withPlans } from './plans.fixtures.ts'

const groups = { prefix: 'p/', delimiter: '/', closed: false }
const WALKS: NameWalk[] = [false, true].flatMap((reverse) => [
  { reverse, limit: 10 },
  { reverse, limit: 10, lower: { name: 'a', inclusive: false }, upper: 'b' },
  { reverse, limit: 10, lower: { name: 'p/', inclusive: true }, upper: 'p0', groups },
  {
    reverse,
    limit: 10,
    lower: { name: 'p/', inclusive: false },
    upper: 'p0',
    groups: { ...groups, closed: true },
  },
])

test('walk: every step of every kind enters the index at the name it looks for, and sorts nothing', async () => {
  await withPlans(async (plansOf, db) => {
    const context = { db, dialect: openSqlite(':memory:'), random: randomBytes, touch() {} }
    for (const walk of WALKS) {
      const plans = [
        ...(await plansOf(() => objectsTable(context).walk(1, walk))),
        ...(await plansOf(() =>
          walkNames(context, {
            table: 'containers',
            key: 'account_id',
            value: 'a',
            columns: [],
            walk,
            read: String,
          }),
        )),
      ]
      const bounds = plans.flatMap((plan) => /^SEARCH t USING .*_id=\?(.*)\)$/.exec(plan)?.[1] ?? [])
      const first = walk.lower ? ' AND name>? AND name<?' : ''
      assert.doesNotMatch(plans.join('\n'), /SCAN t/)
      if (walk.groups) {
        assert.deepEqual(bounds, [first, first, ' AND name=?', first, first, ' AND name=?'])
      } else {
        assert.deepEqual(bounds, [first, first])
        assert.doesNotMatch(plans.join('\n'), /TEMP B-TREE/)
      }
    }
  })
})

test('due: what has expired is found by an index that has nothing else', async () => {
  await withPlans(async (plansOf, db) => {
    const objects = objectsTable({ db, dialect: openSqlite(':memory:'), random: randomBytes, touch() {} })
    for (const [where, index] of [
      [undefined, 'objects_due'],
      [{ containerId: 1 }, 'objects_due_in'],
      [{ accountId: 'a' }, 'objects_due_in'],
    ] as const) {
      const plan = (await plansOf(() => objects.isDue(1, where))).join('\n')
      assert.match(plan, new RegExp(`SEARCH o USING (COVERING )?INDEX ${index} \\(.*delete_at<\\?`), plan)
    }
    const manifests = (await plansOf(() => objects.listManifests('', 10))).join('\n')
    assert.match(manifests, /USING COVERING INDEX objects_manifest \(manifest>\?\)/)
  })
})
