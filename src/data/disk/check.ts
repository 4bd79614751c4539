import { setTimeout } from 'node:timers/promises'
import { LibraryError } from '#base/errors.ts'
import { decodeUnknown, digestOf } from '#data/block/block.ts'
import { readTwice } from '#data/store/storage-errors.ts'
import type { Digest, Store } from '#data/store/store.ts'
import { CheckFindings, type CheckReport, type CheckRoot } from './check-findings.ts'
import { DigestMap } from './digest-map.ts'
import { type DigestRange, digestRanges } from './digest-ranges.ts'
import { walkManifest } from './walk-manifest.ts'

/** Files that were read wholly, and their bytes at rest. */
export interface CheckProgress {
  readonly manifests: number
  readonly blocks: number
  readonly bytes: number
}

export interface CheckOptions {
  readonly store: Store
  /** Everything that must be readable. Called again where something was found, to say whom that hurts. */
  readonly roots: () => AsyncIterable<CheckRoot>
  readonly onProgress?: (progress: CheckProgress) => void
  readonly signal: AbortSignal
  /** The fastest that it may read on average, so that it leaves the disks to others. */
  readonly bytesPerSecond?: number
  /** Moves what is not what its name says out of the way, so that registering the same content again mends it. */
  readonly quarantine?: boolean
  /** Digests remembered at a time; more passes are made where there are more. */
  readonly digestsPerPass?: number
}

/** Stand in the place of a stored length; no block is that long. */
const SEEN = 2 ** 32 - 1
const DISPUTED = 2 ** 32 - 2

/**
 * Reads every stored manifest and block and verifies each against its name, then that every block a root needs is
 * there, as long as its manifest says. Manifests are read before blocks are listed, so whatever they name was stored
 * by then. Safe while registrations and a collection run.
 * @throws unavailable where the store does not answer, or the signal's reason
 */
export async function check(options: CheckOptions): Promise<CheckReport> {
  const { store, roots, signal, quarantine = false } = options
  const checker = createChecker(options)
  const rootManifests = new DigestMap()
  for await (const { manifest } of roots()) rootManifests.set(manifest, 1)

  for await (const { digest, size } of store.manifests.list()) {
    await checker.manifest(digest, size)
    if (rootManifests.has(digest)) rootManifests.set(digest, SEEN)
  }
  for (const [digest, value] of rootManifests.entries())
    if (value !== SEEN) await checker.manifest(digest, undefined)

  const fill = (range: DigestRange) => rememberNeeded(options, rootManifests, checker.findings, range)
  for await (const needed of digestRanges(fill, options.digestsPerPass)) {
    for await (const { digest } of needed.filesOf((after) => store.blocks.list(after))) {
      await checker.block(digest, needed.get(digest))
      if (needed.get(digest) > 0) needed.set(digest, SEEN)
    }
    // Some may have been put back while the blocks were listed, so a list alone proves nothing.
    for (const [digest, expected] of needed.entries())
      if (expected !== SEEN) await checker.block(digest, expected)
  }

  const report = await checker.findings.explain({ store, roots, signal })
  if (quarantine)
    for (const { kind, digest } of checker.findings.wrong()) await store[`${kind}s`].quarantine(digest)
  return { ...checker.counts, ...report }
}

/** Sets the stored length of every block that a root needs. */
async function rememberNeeded(
  { store, signal }: CheckOptions,
  rootManifests: DigestMap,
  findings: CheckFindings,
  range: DigestRange,
): Promise<void> {
  for (const [manifest] of rootManifests.entries()) {
    if (findings.has('manifest', manifest)) continue
    try {
      for await (const { digest, storedLength } of walkManifest(store.manifests, manifest, signal)) {
        const other = range.get(digest)
        range.set(digest, other === 0 || other === storedLength ? storedLength : DISPUTED)
      }
    } catch (error) {
      // It was whole a moment ago: its root is gone and a collection came by, or else the next check will tell.
      if (!(error instanceof LibraryError) || error.code !== 'not_found') throw error
    }
  }
}

function createChecker({ store, signal, onProgress, bytesPerSecond }: CheckOptions) {
  const findings = new CheckFindings()
  const counts = { manifests: 0, blocks: 0, bytes: 0 }
  const startedAt = performance.now()

  const count = async (kind: 'manifests' | 'blocks', size: number) => {
    counts[kind]++
    counts.bytes += size
    onProgress?.({ ...counts })
    const dueAt = startedAt + (bytesPerSecond ? (counts.bytes / bytesPerSecond) * 1000 : 0)
    const waitMs = dueAt - performance.now()
    if (waitMs > 1) await setTimeout(waitMs, undefined, { signal }).catch(() => undefined)
    signal.throwIfAborted()
  }

  return {
    findings,
    counts,
    /** @param size bytes at rest where it was listed */
    async manifest(digest: Digest, size = 0): Promise<void> {
      signal.throwIfAborted()
      try {
        await readTwice(() => verifyManifest(store, digest, signal))
      } catch (error) {
        return findings.add('manifest', digest, error)
      }
      await count('manifests', size)
    },
    /** @param expected bytes at rest, 0 where no root needs it */
    async block(digest: Digest, expected: number): Promise<void> {
      signal.throwIfAborted()
      let size: number
      try {
        size = await readTwice(() => verifyBlock(store, digest, expected))
      } catch (error) {
        return findings.add('block', digest, error)
      }
      await count('blocks', size)
    },
  }
}

/** Reads all of a manifest. @throws not_found, corrupt, unavailable */
export async function verifyManifest(store: Store, digest: Digest, signal: AbortSignal): Promise<void> {
  for await (const _ of walkManifest(store.manifests, digest, signal));
}

/**
 * Verifies a block against its name.
 * @param expected bytes at rest where a manifest says, else 0
 * @returns bytes at rest
 * @throws not_found, corrupt, unavailable
 */
export async function verifyBlock(store: Store, digest: Digest, expected: number): Promise<number> {
  return (await readSound(store, digest, expected)).length
}

/** As `verifyBlock`. @returns the block at rest */
export async function readSound(store: Store, digest: Digest, expected: number): Promise<Uint8Array> {
  const bytes = await store.blocks.get(digest)
  const damage = (what: string) => new LibraryError('corrupt', `check block ${digest}: ${what}`)
  if (digestOf(decodeUnknown(bytes)) !== digest) throw damage('its bytes have another digest')
  if (expected === DISPUTED) throw damage('manifests disagree on its stored length')
  if (expected > 0 && expected !== bytes.length)
    throw damage(`${bytes.length} bytes are stored, its manifest says ${expected}`)
  return bytes
}
