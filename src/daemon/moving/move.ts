import { mkdir } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { MOVED_TABLES } from '#control/catalog/rows.ts'
import { keepAllStored } from '#control/library/keep-all.ts'
import { readManifests } from '#control/library/roots.ts'
import type { CheckRoot } from '#data/disk/check-findings.ts'
import { type CopyCounts, type CopyReport, copyDisks } from '#data/disk/copy-disks.ts'
import { readMoving, writeMoving } from '../at-home.ts'
import type { Config } from '../config.ts'
import { catalogPlace, demandLibrary, makeDataFolder } from '../data-folder.ts'
import { lockDataFolder } from '../data-lock.ts'
import { nameRoots } from '../name-roots.ts'
import { CLOCKS } from './backup.ts'
import { fillCatalog, haveSameRows } from './fill-catalog.ts'
import { isEmptyStore, openPlaces, type Places } from './open-places.ts'
import { copyHostKeys } from './write-snapshot.ts'

/** Copying again is worth it only while there is less to copy each time. */
const PASSES_MAX = 10
/** A pass that takes no longer leaves little for the time in which changes stand still. */
const SHORT_MS = 5000

export interface MoveOptions {
  readonly from: Config
  readonly to: Config
  /** What the operator calls the new place. */
  readonly name: string
  /** Names this process. */
  readonly holder: string
  /** Ends before changes stand still. */
  readonly prepare: boolean
  readonly bytesPerSecond?: number | undefined
  readonly onStep: (step: MoveStep) => void
  readonly onProgress: (counts: CopyCounts) => void
  readonly signal: AbortSignal
}

/** What the operator is told of; times in milliseconds. */
export type MoveStep =
  | { readonly kind: 'pass'; readonly number: number; readonly report: CopyReport; readonly ms: number }
  | { readonly kind: 'standing still' }
  | { readonly kind: 'moved'; readonly report: CopyReport; readonly ms: number }
  /** An earlier go at the same had come to its end. */
  | { readonly kind: 'had moved' }

/**
 * Takes a library from one catalog and store to others. Disks are copied while it runs, in passes that each find less;
 * then changes of the old catalog are refused, for ever, the rest is copied, and the catalog last, in one transaction
 * and read back. Ended anywhere, it goes on where it was when it is begun again.
 * @throws conflict where the new place is not empty; unavailable, corrupt
 */
export async function move(options: MoveOptions): Promise<void> {
  const { from, to, holder, prepare, onStep } = options
  if (isDeepStrictEqual(catalogPlace(from), catalogPlace(to)))
    throw new LibraryError('invalid', 'move a library: the old and the new place have the same catalog', {
      hint: 'give the new one a data folder or a database of its own',
    })
  await using source = await openOld(from)
  using _lock = await lockNew(from, to)
  await using target = await openPlaces(to)
  if ((await demandEmpty(options, source, target)) === 'full') return onStep({ kind: 'had moved' })
  await using kept = await keepAllStored({ catalog: source.catalog, holder, ...CLOCKS })
  const copy = createCopy(options, source, target)
  if ((await readMoving(source.catalog))?.state !== 'left') await copyInPasses(copy, onStep)
  if (prepare) return
  kept.demand()
  await cutOver(options, { source, target, copy })
}

async function openOld(from: Config): Promise<Places> {
  if (!from.catalog) await demandLibrary(from.data)
  return await openPlaces(from)
}

/** The new library must not be started meanwhile; in the same folder, the old one keeps it from that. */
async function lockNew(from: Config, to: Config): Promise<Disposable | undefined> {
  if (from.data === to.data) return undefined
  await makeDataFolder(to.data)
  return lockDataFolder(to.data)
}

/** @returns `full` where an earlier go has come to its end */
async function demandEmpty(options: MoveOptions, source: Places, target: Places): Promise<'empty' | 'full'> {
  const { from, to, name } = options
  const there = `move a library to ${name}`
  const state = (await readMoving(source.catalog))?.state
  if (state === 'filling') throw new LibraryError('conflict', 'move a library: the old one is not whole')
  if (!(await target.catalog.rows.isEmpty())) {
    const [old, filled] = [source.catalog.rows, target.catalog.rows]
    if (state === 'left' && (await haveSameRows(MOVED_TABLES, old.read, filled.read))) return 'full'
    throw new LibraryError('conflict', `${there}: there is a library in it already`)
  }
  if ((await readMoving(target.catalog)) === undefined) {
    if (!haveSameStore(from, to) && !(await isEmptyStore(target.store)))
      throw new LibraryError('conflict', `${there}: its store is not empty`)
    await writeMoving(target.catalog, { state: 'filling', from: from.data })
  }
  return 'empty'
}

const haveSameStore = (one: Config, other: Config): boolean =>
  one.store || other.store ? isDeepStrictEqual(one.store, other.store) : one.data === other.data

/** Copies what the old catalog needs by now and the new store does not have. */
function createCopy(options: MoveOptions, source: Places, target: Places): () => Promise<CopyReport> {
  const { from, to, bytesPerSecond, onProgress, signal } = options
  const roots = haveSameStore(from, to) ? none : () => everyRoot(source.catalog)
  const stores = { from: source.store, to: target.store }
  return () => copyDisks({ ...stores, roots, damagedToo: true, bytesPerSecond, onProgress, signal })
}

async function* none(): AsyncGenerator<never> {}

/** Jobs that are moved along read disks, too. */
async function* everyRoot(catalog: Catalog): AsyncGenerator<CheckRoot> {
  yield* nameRoots(catalog)
  for await (const manifest of readManifests(catalog)) yield { manifest, what: 'something that is under way' }
}

async function copyInPasses(copy: () => Promise<CopyReport>, onStep: MoveOptions['onStep']): Promise<void> {
  for (let number = 1; number <= PASSES_MAX; number++) {
    const startedAt = performance.now()
    const report = await copy()
    const ms = performance.now() - startedAt
    onStep({ kind: 'pass', number, report, ms })
    if (ms < SHORT_MS) return
  }
}

async function cutOver(
  { from, to, name, onStep }: MoveOptions,
  parts: { readonly source: Places; readonly target: Places; readonly copy: () => Promise<CopyReport> },
): Promise<void> {
  const { source, target, copy } = parts
  const startedAt = performance.now()
  if ((await readMoving(source.catalog))?.state !== 'left') {
    await source.catalog.transaction(async (tables) => {
      await writeMoving(tables, { state: 'left', to: name })
      await tables.rows.refuseChanges()
    })
  }
  onStep({ kind: 'standing still' })
  const report = await copy()
  if (from.hostKeys !== to.hostKeys) {
    await mkdir(to.hostKeys, { recursive: true, mode: 0o700 })
    await copyHostKeys(from.hostKeys, to.hostKeys)
  }
  await fillCatalog(target.catalog, MOVED_TABLES, (table) => source.catalog.rows.read(table))
  onStep({ kind: 'moved', report, ms: performance.now() - startedAt })
}

/**
 * Lets the old library accept changes again; the new one is not started any more.
 * @throws conflict where all had moved
 */
export async function cancelMove({ from, to }: Pick<MoveOptions, 'from' | 'to'>): Promise<void> {
  await using source = await openOld(from)
  using _lock = await lockNew(from, to)
  await using target = await openPlaces(to)
  if (!(await target.catalog.rows.isEmpty()))
    throw new LibraryError('conflict', 'cancel a move: the library has moved', {
      hint: 'to go back, move it from the new place to another one',
    })
  await source.catalog.transaction(async (tables) => {
    await tables.rows.acceptChanges()
    await writeMoving(tables, undefined)
  })
}
