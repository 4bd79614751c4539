import { mkdir } from 'node:fs/promises'
import { LibraryError } from '#base/errors.ts'
import { parseRow, type Row } from '#control/catalog/row-lines.ts'
import { type CheckProgress, check } from '#data/disk/check.ts'
import type { CheckReport, CheckRoot } from '#data/disk/check-findings.ts'
import { type CopyCounts, type CopyReport, copyDisks } from '#data/disk/copy-disks.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { readMoving, writeMoving } from '../at-home.ts'
import type { Config } from '../config.ts'
import { makeDataFolder } from '../data-folder.ts'
import { lockDataFolder } from '../data-lock.ts'
import {
  listSnapshots,
  readRoots,
  readSnapshot,
  type Snapshot,
  type SnapshotContents,
  storeOf,
  tablePath,
} from './backup-folder.ts'
import { fillCatalog, haveSameRows } from './fill-catalog.ts'
import { readLines } from './line-files.ts'
import { isEmptyStore, openPlaces } from './open-places.ts'
import { copyHostKeys } from './write-snapshot.ts'

export interface RestoreOptions {
  /** The backup's folder; it is only read. */
  readonly backup: string
  /** By default the newest. */
  readonly snapshot: string | undefined
  /** Where to: an empty data folder, catalog and store. */
  readonly config: Config
  /** Restores everything else where something of the backup is damaged. */
  readonly despiteDamage: boolean
  readonly onProgress: (counts: CopyCounts) => void
  readonly signal: AbortSignal
}

export interface Restored {
  readonly snapshot: Snapshot
  readonly contents: SnapshotContents
  readonly copied: CopyReport
  /** Not where the backup is damaged, and so nobody may use what was restored. */
  readonly isFilled: boolean
}

/**
 * Makes a library of a snapshot: first all disks, then the catalog in one transaction; whoever opens it before is told
 * that it is not whole. Ended anywhere, it goes on where it was when it is begun again.
 * @throws conflict where there is a library or a store in the place already; not_found, corrupt, unavailable
 */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const { backup, config } = options
  const snapshot = await chooseSnapshot(backup, options.snapshot)
  const contents = await readSnapshot(snapshot)
  await makeDataFolder(config.data)
  using _lock = lockDataFolder(config.data)
  const { copied, isFilled } = await fillFrom(options, snapshot, contents)
  // Brings the tables up to date.
  if (isFilled) await (await openPlaces(config))[Symbol.asyncDispose]()
  return { snapshot, contents, copied, isFilled }
}

type Filled = Pick<Restored, 'copied' | 'isFilled'>

/** Fills an empty place, of the version that the snapshot is of. */
async function fillFrom(
  { backup, config, despiteDamage, onProgress, signal }: RestoreOptions,
  snapshot: Snapshot,
  contents: SnapshotContents,
): Promise<Filled> {
  await using places = await openPlaces(config, contents.schema)
  const tables = contents.tables.map(({ table }) => table)
  const rowsOf = (table: string) => readTable(snapshot, table)
  if (!(await places.catalog.rows.isEmpty())) {
    if (await haveSameRows(tables, places.catalog.rows.read, rowsOf))
      return { copied: NOTHING, isFilled: true }
    throw notEmpty(config, 'there is a library in it already')
  }
  // What an earlier go at the same left behind may stay.
  if ((await readMoving(places.catalog)) === undefined && !(await isEmptyStore(places.store)))
    throw notEmpty(config, 'its store is not empty')
  await writeMoving(places.catalog, { state: 'filling', from: snapshot.folder })
  await using from = await openFilesystemStore(storeOf(backup))
  const roots = () => readRoots(snapshot)
  const copying = { from, to: places.store, roots, damagedToo: despiteDamage, onProgress, signal }
  const copied = await copyDisks(copying)
  if (isHurt(copied) && !despiteDamage) return { copied, isFilled: false }
  await mkdir(config.hostKeys, { recursive: true, mode: 0o700 })
  await copyHostKeys(snapshot.folder, config.hostKeys)
  await fillCatalog(places.catalog, tables, rowsOf)
  return { copied, isFilled: true }
}

const NOTHING: CopyReport = {
  ...{ manifests: 0, blocks: 0, bytes: 0, known: 0 },
  ...{ damaged: [], missing: [], truncated: false },
}

const isHurt = ({ damaged, missing }: CopyReport) => damaged.length + missing.length > 0

async function* readTable(snapshot: Snapshot, table: string): AsyncGenerator<Row> {
  for await (const line of readLines(tablePath(snapshot, table))) yield parseRow(line)
}

async function chooseSnapshot(backup: string, name: string | undefined): Promise<Snapshot> {
  const all = await listSnapshots(backup)
  const chosen = name === undefined ? all.at(-1) : all.find((snapshot) => snapshot.name === name)
  if (chosen) return chosen
  const what = name === undefined ? 'snapshot' : `snapshot ${name}`
  throw new LibraryError('not_found', `read the backup ${backup}: there is no ${what} in it`, {
    hint: 'image-library backup FOLDER --list shows all',
  })
}

const notEmpty = ({ data }: Config, why: string): LibraryError =>
  new LibraryError('conflict', `restore to ${data}: ${why}`, {
    hint: 'restore into a new data folder, and a catalog and a store that are empty',
  })

/** Reads and verifies all of a backup: every snapshot, every manifest, every block. */
export async function checkBackup(
  backup: string,
  onProgress: (progress: CheckProgress) => void,
  signal: AbortSignal,
): Promise<CheckReport> {
  const snapshots = await listSnapshots(backup)
  if (snapshots.length === 0) await chooseSnapshot(backup, undefined)
  for (const snapshot of snapshots) await readSnapshot(snapshot)
  await using store = await openFilesystemStore(storeOf(backup))
  async function* roots(): AsyncGenerator<CheckRoot> {
    for (const snapshot of snapshots)
      for await (const { manifest, what } of readRoots(snapshot))
        yield { manifest, what: `${what} of ${snapshot.name}` }
  }
  return await check({ store, roots, onProgress, signal })
}
