import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Catalog, type CatalogPlace, openCatalog } from '#control/catalog/catalog.ts'
import type { Random } from '#model/ids.ts'
import { createDatabase } from './postgres.ts'
import { needs } from './tools.ts'

export const KINDS = ['sqlite', 'postgres'] as const
export type Kind = (typeof KINDS)[number]

/** What those tests run on that run once. */
const CHOSEN: Kind = process.env.CATALOG === 'postgres' ? 'postgres' : 'sqlite'

/** Where a test has a catalog, which may be opened more than once; gone in the end. */
export interface TestPlace extends AsyncDisposable {
  readonly place: CatalogPlace
}

export async function makePlace(kind: Kind = CHOSEN): Promise<TestPlace> {
  if (kind === 'postgres') {
    const { url, ...database } = await createDatabase()
    return { place: { url, connections: 6 }, ...database }
  }
  const folder = await mkdtemp(join(tmpdir(), 'catalog-'))
  return {
    place: { path: join(folder, 'catalog.sqlite') },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}

/** An empty catalog, which nobody else opens, and which is gone once it is closed. */
export async function openTestCatalog(random?: Random): Promise<Catalog> {
  const options = random === undefined ? {} : { random }
  if (CHOSEN === 'sqlite') return await openCatalog({ path: ':memory:', ...options })
  const { place, ...made } = await makePlace()
  const catalog = await openCatalog({ ...place, ...options })
  return {
    ...catalog,
    async [Symbol.asyncDispose]() {
      await catalog[Symbol.asyncDispose]()
      await made[Symbol.asyncDispose]()
    },
  }
}

/** Opens the one catalog of a test, each time anew. */
export type OpenCatalog = (random?: Random) => Promise<Catalog>

/** A test that is run with each kind of database. */
export function onEach(name: string, work: (open: OpenCatalog, kind: Kind) => Promise<void>): void {
  for (const kind of KINDS)
    test(`${name} (${kind})`, kind === 'postgres' ? needs('postgres') : {}, async () => {
      await using made = await makePlace(kind)
      await work((random) => openCatalog({ ...made.place, ...(random && { random }) }), kind)
    })
}
