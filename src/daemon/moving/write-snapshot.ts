import { copyFile, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import { printRow, type Row } from '#control/catalog/row-lines.ts'
import { MOVED_TABLES, type MovedName } from '#control/catalog/rows.ts'
import { unlessMissing } from '#data/store/storage-errors.ts'
import type { Config } from '../config.ts'
import { nameRoots } from '../name-roots.ts'
import { readVersion } from '../version.ts'
import { type Snapshot, type SnapshotContents, tablePath, writeRoots } from './backup-folder.ts'
import { writeLines } from './line-files.ts'

/** Work under way, and servers, whose disks are not in the store. */
const LEFT_OUT: readonly MovedName[] = ['jobs', 'servers', 'volumes']
/** Where data lies is another matter for whoever restores it. */
const PLACES = ['data', 'store', 'catalog', 'sftp.keys']

const HOST_KEY = /^ssh_host_[a-z0-9]+_key(?:\.pub)?$/

/** Writes one moment of a catalog, with all disks that it needs by name, and what else is to be kept of a library. */
export async function writeSnapshot(
  catalog: Catalog,
  config: Pick<Config, 'effective' | 'hostKeys'>,
  begun: Snapshot,
): Promise<SnapshotContents> {
  const takenAt = new Date().toISOString()
  const inCatalog = await catalog.snapshot(async (tables) => {
    const written: { table: string; rows: number }[] = []
    for (const table of MOVED_TABLES) {
      if (LEFT_OUT.includes(table)) continue
      const rows = await writeLines(tablePath(begun, table), printed(tables.rows.read(table)))
      written.push({ table, rows })
    }
    return {
      schema: await tables.rows.version(),
      tables: written,
      disks: await writeRoots(begun, nameRoots(tables)),
      leftOut: { ...(await listLeftOut(tables)), damaged: [] },
    }
  })
  await copyHostKeys(config.hostKeys, begun.folder)
  return { program: readVersion(), takenAt, ...inCatalog, settings: settingsOf(config) }
}

async function* printed(rows: AsyncIterable<Row>): AsyncGenerator<string> {
  for await (const row of rows) yield printRow(row)
}

async function listLeftOut({ servers, images }: Tables) {
  const existing = await servers.listExisting()
  return {
    servers: existing.map(({ id, name }) => ({ id, name })),
    imagesUnderWay: (await images.listByStatus('creating')).length,
  }
}

function settingsOf({ effective }: Pick<Config, 'effective'>): Record<string, string> {
  const set = effective.filter(({ key, from }) => from !== 'default' && !PLACES.includes(key))
  return Object.fromEntries(set.map(({ key, value }) => [key, value]))
}

/** The keys by which SFTP clients know the library; without them each would warn. */
export async function copyHostKeys(from: string, to: string): Promise<void> {
  for (const name of (await unlessMissing(readdir(from))) ?? []) {
    if (!HOST_KEY.test(name)) continue
    await copyFile(join(from, name), join(to, name))
    await using file = await open(join(to, name), 'r+')
    await file.chmod(name.endsWith('.pub') ? 0o644 : 0o600)
    await file.sync()
  }
}
