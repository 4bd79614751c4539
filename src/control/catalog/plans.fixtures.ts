import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CompiledQuery, Kysely } from 'kysely'
import { openCatalog } from './catalog.ts'
import { openSqlite } from './dialect-sqlite.ts'
import type { Schema } from './schema.ts'

/** Runs a test on an empty catalog, with what SQLite says of how it would do each query. */
export async function withPlans(
  work: (plansOf: (run: () => Promise<unknown>) => Promise<string[]>, db: Kysely<Schema>) => Promise<void>,
) {
  const folder = await mkdtemp(join(tmpdir(), 'walk-'))
  const path = join(folder, 'catalog.db')
  await (await openCatalog({ path }))[Symbol.asyncDispose]()
  const queries: CompiledQuery[] = []
  await using db = new Kysely<Schema>({
    dialect: openSqlite(path).kysely,
    log: ({ query }) => void queries.push(query),
  })
  await work(async (run) => {
    queries.length = 0
    await run()
    const plans: string[] = []
    for (const query of [...queries]) {
      const explained = { ...query, sql: `explain query plan ${query.sql}` }
      const { rows } = await db.executeQuery<{ detail: string }>(explained)
      plans.push(...rows.map((row) => row.detail))
    }
    return plans
  }, db)
  await rm(folder, { recursive: true })
}
