import { randomBytes } from 'node:crypto'
import { type CompiledQuery, Kysely } from 'kysely'
import { openDialect } from '#control/catalog/catalog.ts'
import { type Images, imagesTable } from '#control/catalog/images.ts'
import { type Jobs, jobsTable } from '#control/catalog/jobs.ts'
import { type Objects, objectsTable } from '#control/catalog/objects.ts'
import type { Schema } from '#control/catalog/schema.ts'

/** The tables of a catalog in PostgreSQL, each statement by itself. */
export interface PlannedTables extends AsyncDisposable {
  readonly images: Images
  readonly objects: Objects
  readonly jobs: Jobs
  /** Prints how PostgreSQL does each statement of `ask`; it is done twice. */
  printPlans(name: string, ask: () => Promise<unknown>): Promise<void>
}

export function openPlanned(url: string): PlannedTables {
  const dialect = openDialect({ url, connections: 3 })
  const queries: CompiledQuery[] = []
  const db = new Kysely<Schema>({ dialect: dialect.kysely, log: ({ query }) => void queries.push(query) })
  const context = { db, dialect, random: randomBytes, touch() {} }
  return {
    images: imagesTable(context),
    objects: objectsTable(context),
    jobs: jobsTable(context),
    async printPlans(name, ask) {
      queries.length = 0
      await ask()
      const asked = queries.filter(({ sql }) => !sql.includes('advisory'))
      for (const query of asked) {
        const explained = { ...query, sql: `explain (analyze, buffers, costs off) ${query.sql}` }
        const { rows } = await db.executeQuery<{ 'QUERY PLAN': string }>(explained)
        console.log(`\n### Plan: ${name}\n`)
        // The last character there is, many times, ends a range of names.
        for (const row of rows) console.log(`    ${row['QUERY PLAN'].replaceAll(/\u{10ffff}+/gu, '…')}`)
      }
    },
    [Symbol.asyncDispose]: () => db.destroy(),
  }
}
