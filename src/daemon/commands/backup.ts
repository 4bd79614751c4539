import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import type { CopyCounts } from '#data/disk/copy-disks.ts'
import { isFull } from '#data/store/storage-errors.ts'
import { randomText } from '#model/ids.ts'
import type { Flags } from '../config.ts'
import { type BackedUp, backUp, prune } from '../moving/backup.ts'
import { listSnapshots, readSnapshot } from '../moving/backup-folder.ts'
import { count, printMib } from '../print-count.ts'
import { EXIT_DAMAGED } from '../print-findings.ts'
import { createProgressLine } from '../progress-line.ts'
import { printRows } from '../rows.ts'
import { untilSignal } from '../until-signal.ts'
import { withParts } from '../with-parts.ts'

export interface BackupFlags extends Flags {
  readonly keep?: number
  readonly verify?: boolean
  readonly prune?: boolean
  readonly list?: boolean
  /** Bytes per second. */
  readonly rate?: number
}

/** Adds a snapshot of the library to a backup, while the library runs; or looks after the backup alone. */
export async function runBackup(folder: string, flags: BackupFlags): Promise<void> {
  const backup = resolve(folder)
  const signal = untilSignal()
  try {
    if (flags.list) return await listBackup(backup)
    if (!flags.prune) await addSnapshot(backup, flags, signal)
    if (flags.prune || flags.keep !== undefined)
      await pruneBackup(backup, flags.keep ?? Number.POSITIVE_INFINITY, signal)
  } catch (cause) {
    if (!isFull(cause)) throw cause
    throw new LibraryError('unavailable', `back up to ${backup}: no space is left there`, {
      cause,
      hint: 'make room there, then run the same command again: what was copied stays',
    })
  }
}

function addSnapshot(backup: string, flags: BackupFlags, signal: AbortSignal): Promise<void> {
  return withParts(flags, async ({ catalog, store }, config) => {
    using line = createProgressLine(process.stderr)
    const result = await backUp({
      ...{ backup, config, catalog, store, signal },
      holder: `backup-${process.pid}-${randomText(10, randomBytes)}`,
      verify: flags.verify ?? false,
      bytesPerSecond: flags.rate,
      onProgress: (counts) => line.show(printCopied(counts)),
    })
    line[Symbol.dispose]()
    console.log(printBackedUp(result))
    if (result.contents.leftOut.damaged.length > 0) process.exitCode = EXIT_DAMAGED
  })
}

export const printCopied = ({ manifests, blocks, bytes, known }: CopyCounts): string =>
  `copied ${count(blocks, 'block')} and ${count(manifests, 'manifest')}, ${printMib(bytes)}; ${known} were there`

function printBackedUp({ snapshot, contents, copied }: BackedUp): string {
  const { servers, imagesUnderWay, damaged } = contents.leftOut
  return [
    printCopied(copied),
    ...damaged,
    ...(damaged.length === 0 ? [] : ['what needs these could not be backed up; everything else was']),
    ...servers.map(
      ({ id, name }) => `not in the backup: the disk of ${id} (${name}); a snapshot of it would be`,
    ),
    ...(imagesUnderWay === 0
      ? []
      : [`not in the backup: ${count(imagesUnderWay, 'image')} that had not come wholly`]),
    `snapshot ${snapshot.name}: the catalog and ${count(contents.disks, 'disk')}`,
  ].join('\n')
}

async function pruneBackup(backup: string, keep: number, signal: AbortSignal): Promise<void> {
  const { snapshots, blocks, bytes } = await prune(backup, keep, signal)
  for (const name of snapshots) console.log(`removed snapshot ${name}`)
  console.log(`removed ${count(blocks, 'block')} that no snapshot needs, ${printMib(bytes)} in all`)
}

async function listBackup(backup: string): Promise<void> {
  const lines: string[][] = []
  for (const snapshot of await listSnapshots(backup)) {
    const contents = await readSnapshot(snapshot)
    lines.push([snapshot.name, String(contents.disks), contents.program])
  }
  console.log(printRows(['snapshot', 'disks', 'by version'], lines))
}
