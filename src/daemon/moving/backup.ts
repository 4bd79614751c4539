import type { Catalog } from '#control/catalog/catalog.ts'
import { keepAllStored } from '#control/library/keep-all.ts'
import { collect } from '#data/disk/collect.ts'
import { type CopyCounts, type CopyReport, copyDisks } from '#data/disk/copy-disks.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import type { Store } from '#data/store/store.ts'
import type { Config } from '../config.ts'
import { lockBackup } from '../data-lock.ts'
import { printFindings } from '../print-findings.ts'
import {
  beginSnapshot,
  finishSnapshot,
  listSnapshots,
  makeBackupFolder,
  readRoots,
  readSnapshot,
  removeSnapshot,
  type Snapshot,
  type SnapshotContents,
  storeOf,
} from './backup-folder.ts'
import { writeSnapshot } from './write-snapshot.ts'

/** For what keeps collections away. */
export const CLOCKS = { now: Date.now, elapsed: () => performance.now() }

export interface BackupOptions {
  /** The backup's folder. */
  readonly backup: string
  readonly config: Pick<Config, 'effective' | 'hostKeys'>
  readonly catalog: Catalog
  readonly store: Store
  /** Names this process. */
  readonly holder: string
  /** Reads what is in the backup already, too, and mends what is damaged there. */
  readonly verify: boolean
  readonly bytesPerSecond?: number | undefined
  readonly onProgress: (counts: CopyCounts) => void
  readonly signal: AbortSignal
}

export interface BackedUp {
  readonly snapshot: Snapshot
  readonly contents: SnapshotContents
  readonly copied: CopyReport
}

/**
 * Adds a snapshot to a backup while the library runs: first one moment of the catalog, then every disk that it names,
 * which no collection removes meanwhile. The snapshot appears, whole and on stable storage, as the last thing; whatever
 * ends this before leaves blocks that the next one need not copy again.
 * @throws conflict where another backup to the same folder is under way; unavailable
 */
export async function backUp(options: BackupOptions): Promise<BackedUp> {
  const { backup, config, catalog, store, holder, verify, signal } = options
  await makeBackupFolder(backup)
  using _lock = lockBackup(backup)
  await using kept = await keepAllStored({ catalog, holder, ...CLOCKS })
  await using target = await openFilesystemStore(storeOf(backup), { exclusive: true })
  const begun = await beginSnapshot(backup)
  const contents = await writeSnapshot(catalog, config, begun)
  const copied = await copyDisks({
    from: store,
    to: target,
    roots: () => readRoots(begun),
    verifyKnown: verify,
    bytesPerSecond: options.bytesPerSecond,
    onProgress: options.onProgress,
    signal,
  })
  kept.demand()
  const leftOut = { ...contents.leftOut, damaged: printFindings(copied) }
  const snapshot = await finishSnapshot(backup, begun, { ...contents, leftOut })
  return { snapshot, contents: { ...contents, leftOut }, copied }
}

export interface Pruned {
  readonly snapshots: readonly string[]
  readonly blocks: number
  readonly bytes: number
}

/** Removes all snapshots but the newest ones, and what no snapshot needs any more. */
export async function prune(backup: string, keep: number, signal: AbortSignal): Promise<Pruned> {
  await makeBackupFolder(backup)
  using _lock = lockBackup(backup)
  const all = await listSnapshots(backup)
  const old = all.slice(0, Math.max(0, all.length - keep))
  const left = all.slice(old.length)
  // Before anything is removed: of a snapshot that cannot be read, nobody knows what it needs.
  for (const snapshot of left) await readSnapshot(snapshot)
  for (const snapshot of old) await removeSnapshot(backup, snapshot)
  await using store = await openFilesystemStore(storeOf(backup), { exclusive: true })
  const removed = await collect({
    store,
    roots: () => manifestsOf(store, left),
    unclaimedSince: await store.nextGeneration(),
    signal,
  })
  const { blocksRemoved: blocks, bytesRemoved: bytes } = removed
  return { snapshots: old.map(({ name }) => name), blocks, bytes }
}

/** Of those that were copied: what was damaged in the library itself is named by a snapshot, and not there. */
async function* manifestsOf(store: Store, snapshots: readonly Snapshot[]): AsyncGenerator<string> {
  for (const snapshot of snapshots)
    for await (const { manifest } of readRoots(snapshot))
      if ((await store.manifests.sizeOf(manifest)) !== undefined) yield manifest
}
