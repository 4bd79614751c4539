import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import fc from 'fast-check'
import { openCatalog } from '#control/catalog/catalog.ts'
import { EVERYTHING, type OrbitFixture, openOrbit, PLAIN } from './orbit.fixtures.ts'
import { type ObjectRow, OrbitRefusal } from './orbit.ts'

const CONTAINERS = ['c', 'd', 'archive']
const NAMES = ['a', 'b', 'c/d']

type Step =
  | { readonly act: 'put'; readonly size: number; readonly lives: boolean }
  | { readonly act: 'remove' | 'post' | 'copy' | 'rename' | 'make' | 'drop' | 'wait' | 'versions' }

interface Placed {
  readonly container: string
  readonly name: string
  readonly step: Step
}

const STEP: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    act: fc.constant('put' as const),
    size: fc.constantFrom(0, 3, 100, 20_000),
    lives: fc.boolean(),
  }),
  fc.record({ act: fc.constantFrom('remove', 'post', 'copy', 'rename', 'make', 'drop', 'wait', 'versions') }),
)
const PLACED: fc.Arbitrary<Placed> = fc.record({
  container: fc.constantFrom(...CONTAINERS),
  name: fc.constantFrom(...NAMES),
  step: STEP,
})

async function change({ orbit, owner, account, clock }: OrbitFixture, { container, name, step }: Placed) {
  const path = { account, container, object: name }
  const target = { account, container: 'd', object: 'a' }
  const { signal } = new AbortController()
  if (step.act === 'put') {
    const deleteAt = Math.floor(clock.at / 1e6) + 10
    const attributes = step.lives ? PLAIN : { ...PLAIN, deleteAt }
    await using upload = await orbit.objects.beginPut(owner, path, { attributes, signal })
    await upload.write(Buffer.alloc(step.size, name))
    await upload.finish()
  }
  if (step.act === 'remove') await orbit.objects.remove(owner, path)
  if (step.act === 'post') await orbit.objects.update(owner, path, PLAIN)
  if (step.act === 'copy') await orbit.objects.copy(owner, path, target, { attributes: PLAIN, signal })
  if (step.act === 'rename') await orbit.objects.rename(owner, path, target, { replace: true })
  if (step.act === 'make') await orbit.containers.put(owner, path, { metadata: {} })
  if (step.act === 'drop') await orbit.containers.remove(owner, path)
  if (step.act === 'wait') clock.at += 6e6
  if (step.act === 'versions') {
    const versions =
      name === 'a' ? null : ({ mode: name === 'b' ? 'stack' : 'history', container: 'archive' } as const)
    if (container !== 'archive') await orbit.containers.update(owner, path, { metadata: {}, versions })
  }
}

/** What is listed, counted once more. */
async function recount({ orbit, owner, account }: OrbitFixture) {
  const { info, rows } = await orbit.accounts.list(owner, account, EVERYTHING)
  let [objects, bytes] = [0, 0]
  for (const row of rows) {
    const list = await orbit.containers.list(owner, { account, container: row.name }, EVERYTHING)
    const size = list.rows.reduce(
      (sum, one) => sum + (one as Extract<ObjectRow, { kind: 'object' }>).bytes,
      0,
    )
    const expected = [list.rows.length, size]
    assert.deepEqual([list.info.objectCount, list.info.bytesUsed], expected, `of container ${row.name}`)
    if (row.kind === 'container') assert.deepEqual([row.count, row.bytes], expected, `row ${row.name}`)
    objects += list.rows.length
    bytes += size
  }
  assert.deepEqual([info.containerCount, info.objectCount, info.bytesUsed], [rows.length, objects, bytes])
}

/** Contents that stand in the catalog, and those that objects name. */
function countContents(path: string): unknown {
  using database = new DatabaseSync(path, { readOnly: true })
  const stored = 'select count(*) from object_bytes'
  const named = 'select count(*) from object_bytes where id in (select bytes_id from objects)'
  const ids = 'select count(bytes_id) from objects'
  return Object.values(database.prepare(`select (${stored}), (${named}), (${ids})`).get() ?? {})
}

test('counters: are those of a recount after any changes, and bytes that nothing names are gone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'counters-'))
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(PLACED, { maxLength: 40 }), async (steps) => {
      const path = join(folder, `${run++}.db`)
      await using fixture = await openOrbit({ catalog: await openCatalog({ path }) })
      const { orbit, owner, account, clock } = fixture
      for (const container of CONTAINERS)
        await orbit.containers.put(owner, { account, container }, { metadata: {} })
      for (const step of steps) {
        await change(fixture, step).catch((error) => {
          if (!(error instanceof OrbitRefusal)) throw error
        })
        await recount(fixture)
      }
      clock.at += 20e6
      await orbit.expire(new AbortController().signal)
      await recount(fixture)
      const [stored, named, ids] = countContents(path) as number[]
      assert.deepEqual([named, ids], [stored, stored])
    }),
    { numRuns: 20 },
  )
  await rm(folder, { recursive: true })
})
