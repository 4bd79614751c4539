import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import { Kysely, type RawBuilder } from 'kysely'
import { type CatalogPlace, openDialect } from '#control/catalog/catalog.ts'
import type { StorePlace } from '#data/store/open-store.ts'
import { createDatabase } from './postgres.ts'
import { createS3Place, createSdkClient, KEYS } from './radosgw.ts'

const execute = promisify(execFile)

/** What the libraries of tests stand on: `BACKEND=large` for PostgreSQL and S3, else each for its own data folder. */
const IS_LARGE = process.env.BACKEND === 'large'
if (IS_LARGE) {
  process.env.AWS_ACCESS_KEY_ID = KEYS.accessKeyId
  process.env.AWS_SECRET_ACCESS_KEY = KEYS.secretAccessKey
}

/** Where a test's library has what it keeps, for tests that look into it or change what no request can. */
export interface LibraryPlace {
  readonly catalog: CatalogPlace
  readonly store: StorePlace
}

interface Place extends LibraryPlace {
  readonly arguments: readonly string[]
  readonly database?: AsyncDisposable
}

const places = new Map<string, Promise<Place>>()

/** The arguments by which the daemon and every command of the operator find a test's library. @param data its folder */
export async function libraryAt(data: string): Promise<readonly string[]> {
  return (await placeOf(data)).arguments
}

/** @param data its folder */
export async function libraryPlaceAt(data: string): Promise<LibraryPlace> {
  return await placeOf(data)
}

function placeOf(data: string): Promise<Place> {
  const place = places.get(data) ?? makePlace(data)
  places.set(data, place)
  return place
}

async function makePlace(data: string): Promise<Place> {
  if (!IS_LARGE) {
    const catalog = { path: join(data, 'catalog.sqlite') }
    return { arguments: ['--data', data], catalog, store: join(data, 'store') }
  }
  const [database, store] = await Promise.all([createDatabase({ empty: true }), createS3Place()])
  const { bucket, prefix, endpoint, region } = store
  const address = `s3://${bucket}/${prefix}?endpoint=${endpoint}&region=${region}`
  const catalog = { url: database.url, connections: 4 }
  const words = ['--data', data, '--catalog', database.url, '--store', address]
  return { arguments: words, catalog, store, database }
}

/** Runs a statement in the catalog of a library that may be running, for what none of its tables offers. */
export async function inCatalog(data: string, statement: RawBuilder<unknown>): Promise<void> {
  await using db = openTables((await placeOf(data)).catalog)
  await statement.execute(db)
}

/** All that a library's catalog has; of a file, every byte, also what is left of rows that were deleted. */
export async function textOfCatalog(data: string): Promise<string> {
  const { catalog } = await placeOf(data)
  if ('path' in catalog) {
    const names = (await readdir(data)).filter((name) => name.startsWith(basename(catalog.path)))
    return (await Promise.all(names.map((name) => readFile(join(data, name), 'latin1')))).join('\n')
  }
  await using db = openTables(catalog)
  const tables = await db.introspection.getTables()
  const rows = await Promise.all(tables.map(({ name }) => db.selectFrom(name).selectAll().execute()))
  const textOf = (value: unknown) => (Buffer.isBuffer(value) ? value.toString('latin1') : `${value}`)
  return rows.flatMap((some) => some.flatMap((row) => Object.values(row).map(textOf))).join('\n')
}

function openTables(place: CatalogPlace): Kysely<Record<string, Record<string, unknown>>> {
  const { kysely, plugins } = openDialect(place)
  return new Kysely({ dialect: kysely, plugins: [...plugins] })
}

/** To be called when the folder is removed. */
export async function forgetLibrary(data: string): Promise<void> {
  const place = await placeOf(data)
  places.delete(data)
  await place.database?.[Symbol.asyncDispose]()
}

/** The names of what lies in a library's store, but for what each has; also what is half put. */
export async function listStored(data: string): Promise<readonly string[]> {
  const { store } = await placeOf(data)
  if (typeof store === 'string') {
    const { stdout } = await execute('find', [store, '-type', 'f', '-size', '+0', '!', '-name', 'generation'])
    return stdout.split('\n').filter(Boolean)
  }
  const client = createSdkClient(store)
  try {
    const list = new ListObjectsV2Command({ Bucket: store.bucket, Prefix: store.prefix })
    const { Contents = [] } = await client.send(list)
    // What was removed is kept aside for an hour.
    const keys = Contents.map(({ Key = '' }) => Key.slice(store.prefix.length))
    return keys.filter((key) => /^(blocks|manifests)\//.test(key))
  } finally {
    client.destroy()
  }
}
