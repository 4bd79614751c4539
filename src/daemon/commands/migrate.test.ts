import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openCatalog } from '#control/catalog/catalog.ts'
import { createDatabase } from '../../../test/support/postgres.ts'
import { needs } from '../../../test/support/tools.ts'
import { catalogPath } from '../data-folder.ts'
import { main } from '../main.ts'

/** One command line: its exit code, and what it said. */
async function run(t: { mock: typeof test.mock }, ...args: string[]): Promise<[number, string]> {
  const said: unknown[] = []
  const spies = (['log', 'error'] as const).map((name) =>
    t.mock.method(console, name, (...words: unknown[]) => void said.push(...words)),
  )
  process.exitCode = 0
  const code = await main(args)
  process.exitCode = 0
  for (const { mock } of spies) mock.restore()
  return [code, said.join('\n')]
}

test('migrate: says what is to be done, does it, and has nothing to do then', async (t) => {
  const data = await mkdtemp(join(tmpdir(), 'migrate-'))
  t.after(() => rm(data, { recursive: true }))
  const migrate = (...more: string[]) => run(t, 'migrate', '--data', data, ...more)
  assert.match(
    (await migrate('--check')).join(),
    /^1,error: open the data folder .* there is no library in it/,
  )
  await (await openCatalog({ path: catalogPath(data), upTo: '0008-leases' }))[Symbol.asyncDispose]()
  const [code, said] = await migrate('--check')
  assert.equal(code, 2)
  assert.match(said, /^0009-compatibility: only adds/)
  assert.deepEqual((await migrate('--check')).slice(1), [said])
  assert.deepEqual(await migrate(), [0, `${said}\ndone`])
  assert.deepEqual(await migrate('--check'), [0, 'the catalog is up to date'])
})

test('migrate: makes the tables in an empty database', needs('postgres'), async (t) => {
  await using database = await createDatabase({ empty: true })
  const migrate = (...more: string[]) => run(t, 'migrate', '--catalog', database.url, ...more)
  const [code, said] = await migrate('--check')
  assert.equal(code, 2)
  assert.match(said, /^0001-foundation: /)
  assert.match((await migrate()).join(), /^0,.*\ndone$/s)
  assert.deepEqual(await migrate('--check'), [0, 'the catalog is up to date'])
})

test('migrate: a database that is not there is told, without a stack', needs('postgres'), async (t) => {
  await using database = await createDatabase({ empty: true })
  const other = database.url.replace(/test_\w+/, 'none')
  const [code, said] = await run(t, 'migrate', '--catalog', other)
  assert.equal(code, 1)
  assert.equal(said, 'error: use the catalog: there is no such database')
})
