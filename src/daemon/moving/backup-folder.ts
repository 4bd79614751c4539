import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import { syncFolder } from '#base/sync-folder.ts'
import type { CheckRoot } from '#data/disk/check-findings.ts'
import { systemCode } from '#data/store/storage-errors.ts'
import { randomText } from '#model/ids.ts'
import { readLines, sumFile, writeLines } from './line-files.ts'

/** The backup folder's own version. */
const FORMAT = 1
const SUMS = 'SHA256SUMS'
const CONTENTS = 'snapshot.json'
const ROOTS = 'roots.jsonl'
const UNFINISHED = 'unfinished-'
const NAME = /^\d{6}_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ$/
const SUM_LINE = /^([0-9a-f]{64}) {2}([A-Za-z0-9_.]+)$/

/** What a snapshot is of, in `snapshot.json`. */
export interface SnapshotContents {
  /** Of the program that made it. */
  readonly program: string
  /** ISO 8601. */
  readonly takenAt: string
  /** What its tables look like: the name of the newest migration. */
  readonly schema: string
  /** In an order in which they can be filled, with their rows. */
  readonly tables: readonly { readonly table: string; readonly rows: number }[]
  readonly disks: number
  /** What is not in it. */
  readonly leftOut: {
    readonly servers: readonly { readonly id: string; readonly name: string }[]
    readonly imagesUnderWay: number
    /** Disks that the library itself could not read wholly, in words. */
    readonly damaged: readonly string[]
  }
  /** Those that were not as by default, but for the places of data. */
  readonly settings: Readonly<Record<string, string>>
}

interface WrittenContents extends SnapshotContents {
  readonly format: number
}

/** One moment of a catalog, in a backup. */
export interface Snapshot {
  readonly name: string
  readonly folder: string
}

export const storeOf = (backup: string): string => join(backup, 'store')
const snapshotsOf = (backup: string): string => join(backup, 'snapshots')
export const tablePath = ({ folder }: Snapshot, table: string): string => join(folder, `${table}.jsonl`)

/** The disks that a snapshot needs, in words that an operator knows. */
export const writeRoots = ({ folder }: Snapshot, roots: AsyncIterable<CheckRoot>): Promise<number> =>
  writeLines(
    join(folder, ROOTS),
    mapped(roots, (root) => JSON.stringify(root)),
  )

export const readRoots = ({ folder }: Snapshot): AsyncGenerator<CheckRoot> =>
  mapped(readLines(join(folder, ROOTS)), (line) => JSON.parse(line) as CheckRoot)

const README = `This folder is a backup of an image library. What restores it:

    image-library restore THIS-FOLDER --data NEW-DATA-FOLDER

It holds hashes of passwords and private keys: whoever reads it can try to guess the
first and use the second. docs/guides/backup.md of the program says all about it.
`

/** Makes the folder of a backup where it is not there; closed to others. @throws invalid, unavailable */
export async function makeBackupFolder(backup: string): Promise<void> {
  try {
    await mkdir(snapshotsOf(backup), { recursive: true, mode: 0o700 })
    await mkdir(storeOf(backup), { recursive: true, mode: 0o700 })
    await chmod(snapshotsOf(backup), 0o700)
    await chmod(storeOf(backup), 0o700)
    await writeReadme(join(backup, 'README.txt'))
    for (const name of await readdir(snapshotsOf(backup)))
      if (name.startsWith(UNFINISHED)) await rm(join(snapshotsOf(backup), name), { recursive: true })
  } catch (cause) {
    throw new LibraryError('unavailable', `back up to ${backup}: ${systemCode(cause) ?? 'it fails'}`, {
      cause,
    })
  }
}

async function writeReadme(path: string): Promise<void> {
  try {
    await writeFile(path, README, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
  }
}

/** Whole ones only, oldest first. @throws not_found where there is no backup */
export async function listSnapshots(backup: string): Promise<Snapshot[]> {
  try {
    const names = (await readdir(snapshotsOf(backup))).filter((name) => NAME.test(name)).sort()
    return names.map((name) => ({ name, folder: join(snapshotsOf(backup), name) }))
  } catch (cause) {
    const code = systemCode(cause)
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw cause
    throw new LibraryError('not_found', `read the backup ${backup}: there is none in it`, { cause })
  }
}

/** A folder for a snapshot that is not whole yet; the next backup removes it where it stays so. */
export async function beginSnapshot(backup: string): Promise<Snapshot> {
  const name = `${UNFINISHED}${randomText(10, randomBytes)}`
  const folder = join(snapshotsOf(backup), name)
  await mkdir(folder, { mode: 0o700 })
  return { name, folder }
}

/** Sums up all that was written and gives the snapshot its name, behind all others'. */
export async function finishSnapshot(
  backup: string,
  begun: Snapshot,
  contents: SnapshotContents,
): Promise<Snapshot> {
  await writeLines(
    join(begun.folder, CONTENTS),
    (async function* () {
      yield JSON.stringify({ format: FORMAT, ...contents }, undefined, 2)
    })(),
  )
  await writeLines(join(begun.folder, SUMS), sumAll(begun.folder))
  await syncFolder(begun.folder)
  const last = (await listSnapshots(backup)).at(-1)?.name ?? '0'
  const number = String(Number.parseInt(last, 10) + 1).padStart(6, '0')
  const name = `${number}_${contents.takenAt.slice(0, 19).replaceAll(':', '-')}Z`
  const folder = join(snapshotsOf(backup), name)
  await rename(begun.folder, folder)
  await syncFolder(snapshotsOf(backup))
  await syncFolder(backup)
  return { name, folder }
}

async function* sumAll(folder: string): AsyncGenerator<string> {
  for (const name of (await readdir(folder)).sort())
    if (name !== SUMS) yield `${await sumFile(join(folder, name))}  ${name}`
}

export async function removeSnapshot(backup: string, { folder }: Snapshot): Promise<void> {
  // One that is removed by halves must not look like a whole one.
  const half = join(snapshotsOf(backup), `${UNFINISHED}${randomText(10, randomBytes)}`)
  await rename(folder, half)
  await rm(half, { recursive: true })
}

/** Verifies every file of a snapshot. @returns what it is of. @throws corrupt, naming the file */
export async function readSnapshot({ name, folder }: Snapshot): Promise<SnapshotContents> {
  const damage = (what: string, cause?: unknown) =>
    new LibraryError('corrupt', `read the snapshot ${name}: ${what}`, {
      cause,
      hint: 'choose another one of the same backup with --snapshot',
    })
  const sums = new Map<string, string>()
  try {
    for await (const line of readLines(join(folder, SUMS))) {
      const [, sum, file] = SUM_LINE.exec(line) ?? []
      if (sum === undefined || file === undefined) throw damage(`${SUMS} is damaged`)
      sums.set(file, sum)
    }
    for (const [file, sum] of sums)
      if ((await sumFile(join(folder, file))) !== sum) throw damage(`${file} is not what ${SUMS} says`)
  } catch (error) {
    if (error instanceof LibraryError) throw error
    throw damage(`a file of it cannot be read (${systemCode(error)})`, error)
  }
  for (const file of [CONTENTS, ROOTS]) if (!sums.has(file)) throw damage(`${SUMS} has no ${file}`)
  const contents = JSON.parse(await readFile(join(folder, CONTENTS), 'utf8')) as WrittenContents
  if (contents.format !== FORMAT)
    throw new LibraryError('invalid', `read the snapshot ${name}: its format is ${contents.format}`, {
      hint: 'use a newer version of this program',
    })
  for (const { table } of contents.tables) if (!sums.has(`${table}.jsonl`)) throw damage(`it has no ${table}`)
  return contents
}

async function* mapped<T, U>(things: AsyncIterable<T>, change: (thing: T) => U): AsyncGenerator<U> {
  for await (const thing of things) yield change(thing)
}
