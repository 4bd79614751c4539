import { eachAtOnce } from '#base/each-at-once.ts'
import { LibraryError } from '#base/errors.ts'
import type { Digest, Generation, RemovedFiles, Store, StoredFile } from '#data/store/store.ts'
import { DigestMap } from './digest-map.ts'
import { type DigestRange, digestRanges } from './digest-ranges.ts'
import { walkManifest } from './walk-manifest.ts'

/** Removals under way: a store far away takes its time for each. */
const AT_ONCE = 32

export interface CollectOptions {
  readonly store: Store
  /** The manifests of everything that must survive: images, and whatever is being read. */
  readonly roots: () => AsyncIterable<Digest>
  /**
   * Not later than the first claim or put of anything that is under way and no root yet, so that no more is removed
   * than what was put and claimed before. It must be read before `roots` is, in a generation that was begun for it.
   */
  readonly unclaimedSince: Generation
  /** Counts, and removes nothing. */
  readonly dryRun?: boolean
  readonly signal: AbortSignal
  /** Digests remembered at a time; more passes are made where there are more. */
  readonly digestsPerPass?: number
}

export interface Collected {
  readonly manifestsRemoved: number
  readonly manifestsKept: number
  readonly blocksRemoved: number
  readonly blocksKept: number
  /** At rest, manifests and blocks. */
  readonly bytesRemoved: number
}

/**
 * Removes manifests that are no root, then blocks that no remaining manifest names. Safe while registrations run:
 *
 * - Every block of a root is named by a root manifest, and root manifests are never removed.
 * - A registration claims or puts each block, then its manifest, and only then becomes a root. All of that happens
 *   at or after `unclaimedSince`, so `remove` leaves each of them alone, whichever call comes first.
 * - A manifest that somebody claims instead of being removed stays, and is walked before any block is removed.
 * - Where a store cannot keep `remove` from meeting a claim, what it removed is put back here, or deleted for good, by
 *   a later collection.
 *
 * @throws corrupt where a remaining manifest cannot be read, for nobody knows then which blocks it needs; no block
 * was removed in that pass
 */
export async function collect(options: CollectOptions): Promise<Collected> {
  const { store, signal, unclaimedSince, dryRun = false } = options
  const counts = { manifestsRemoved: 0, manifestsKept: 0, blocksRemoved: 0, blocksKept: 0, bytesRemoved: 0 }

  const present = await store.generation()
  /** Whether the file is gone, or would be. */
  const removeFrom = async (files: Pick<Store['blocks'], 'claim' | 'remove'>, file: StoredFile) => {
    // Of a generation to come: marked by an older version, or by who restored it. A later collection can take it.
    const { claimedIn = 0 } = file
    if (claimedIn > present && !dryRun) await files.claim(file.digest)
    if (claimedIn >= unclaimedSince) return false
    if (!dryRun && !(await files.remove(file.digest, unclaimedSince))) return false
    counts.bytesRemoved += file.size
    return true
  }

  const roots = new DigestMap()
  for await (const digest of options.roots()) roots.set(digest, 1)

  await settle(options, store.manifests.removed, (digest) => roots.has(digest))
  /** What a dry run leaves in place, but a real one would have removed. */
  const stillThere = new DigestMap()
  await eachAtOnce(store.manifests.list(), AT_ONCE, async (file) => {
    signal.throwIfAborted()
    if (!roots.has(file.digest) && (await removeFrom(store.manifests, file))) {
      counts.manifestsRemoved++
      if (dryRun) stillThere.set(file.digest, 1)
    } else counts.manifestsKept++
  })

  const remember = (range: DigestRange) => rememberNeeded(options, { roots, stillThere, range })
  for await (const needed of digestRanges(remember, options.digestsPerPass)) {
    const isNeeded = (digest: Digest) => needed.get(digest) > 0
    await settle(options, store.blocks.removed, isNeeded, (digest) => needed.covers(digest))
    await eachAtOnce(
      needed.filesOf((after) => store.blocks.list(after)),
      AT_ONCE,
      async (file) => {
        signal.throwIfAborted()
        if (!isNeeded(file.digest) && (await removeFrom(store.blocks, file))) counts.blocksRemoved++
        else counts.blocksKept++
      },
    )
  }
  return counts
}

/**
 * Puts back what was removed although it is needed, and deletes for good what was removed before all that is under way
 * began: so nothing that was under way when it was removed can come to need it any more.
 */
async function settle(
  { signal, unclaimedSince, dryRun = false }: CollectOptions,
  removed: RemovedFiles | undefined,
  isNeeded: (digest: Digest) => boolean,
  covers: (digest: Digest) => boolean = () => true,
): Promise<void> {
  if (!removed) return
  await eachAtOnce(removed.list(), AT_ONCE, async (file) => {
    signal.throwIfAborted()
    if (!covers(file.digest)) return
    if (isNeeded(file.digest)) await removed.putBack(file)
    if (!dryRun && file.isSettled && file.removedIn < unclaimedSince) await removed.purge(file)
  })
}

/** Sets every digest that a remaining manifest names. */
async function rememberNeeded(
  { store, signal }: CollectOptions,
  { roots, stillThere, range }: { roots: DigestMap; stillThere: DigestMap; range: DigestRange },
): Promise<void> {
  let rootsFound = 0
  for await (const { digest } of store.manifests.list()) {
    if (stillThere.has(digest)) continue
    if (roots.has(digest)) rootsFound++
    await rememberBlocks(store, digest, range, signal)
  }
  if (rootsFound === roots.size) return
  throw new LibraryError(
    'corrupt',
    `collect: ${roots.size - rootsFound} manifests that are needed are not stored`,
    {
      hint: 'Run check to see which images are hurt; destroy or register them again, then collect.',
    },
  )
}

async function rememberBlocks(store: Store, digest: Digest, range: DigestRange, signal: AbortSignal) {
  try {
    for await (const block of walkManifest(store.manifests, digest, signal)) range.set(block.digest, 1)
  } catch (cause) {
    if (!(cause instanceof LibraryError) || cause.code !== 'corrupt') throw cause
    throw new LibraryError(
      'corrupt',
      `collect: manifest ${digest} is damaged, so nobody knows what it needs`,
      {
        cause,
        hint: 'Run check to see which images are hurt; destroy or register them again, then collect.',
      },
    )
  }
}
