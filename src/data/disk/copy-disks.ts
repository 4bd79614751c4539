import { setTimeout } from 'node:timers/promises'
import { KiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { isDamage } from '#data/store/storage-errors.ts'
import type { Digest, ManifestStore, Store } from '#data/store/store.ts'
import { readSound, verifyBlock } from './check.ts'
import { CheckFindings, type CheckRoot, type Findings } from './check-findings.ts'
import { isSound } from './check-round.ts'
import { DigestMap } from './digest-map.ts'
import { type DigestRange, digestRanges } from './digest-ranges.ts'
import { walkManifest } from './walk-manifest.ts'

/** What was copied, and bytes at rest of it. */
export interface CopyCounts {
  readonly manifests: number
  readonly blocks: number
  readonly bytes: number
  /** Manifests and blocks that were there already. */
  readonly known: number
}

export interface CopyReport extends CopyCounts, Findings {}

export interface CopyOptions {
  readonly from: Store
  readonly to: Store
  /** The disks that are to be in `to`. Called again where something is damaged, to say whom that hurts. */
  readonly roots: () => AsyncIterable<CheckRoot>
  /** Reads what `to` has already as well, and mends what is damaged there. */
  readonly verifyKnown?: boolean
  /** Copies disks, too, of which some blocks cannot be had: the others can then be read. */
  readonly damagedToo?: boolean
  /** The fastest that it may read and write on average. */
  readonly bytesPerSecond?: number | undefined
  readonly onProgress?: (counts: CopyCounts) => void
  readonly signal: AbortSignal
  /** Digests remembered at a time; more passes are made where there are more. */
  readonly digestsPerPass?: number
}

/** Blocks under way at a time: enough for a store that answers late, 8 MiB. */
const AT_ONCE = 8
/** Bytes of a manifest read at a time. */
const PART = 256 * KiB
/** What stands of a disk in the map: to be copied, not to be had, there already. */
const WANTED = 1
const HURT = 2
const KNOWN = 3

/**
 * Copies disks from store to store. Each block is read wholly and compared with its name on the way. A manifest
 * appears in `to` only after all its blocks are there on stable storage, so that one which is there says that the disk
 * was copied: a copy that was ended anywhere, and is begun again, copies just what is missing.
 *
 * Nothing may be removed from `to` meanwhile, and nothing from `from` that a root needs.
 * @returns also what could not be copied, as it is damaged or missing in `from`
 * @throws unavailable where a store does not answer or is full, or the signal's reason
 */
export async function copyDisks(options: CopyOptions): Promise<CopyReport> {
  const { from, to, roots, signal, verifyKnown = false, damagedToo = false } = options
  const copier = createCopier(options)
  const wanted = new DigestMap()
  for await (const { manifest } of roots()) {
    signal.throwIfAborted()
    if (wanted.has(manifest)) continue
    const isKnown = !verifyKnown && (await to.manifests.claim(manifest)) !== undefined
    if (isKnown) copier.addKnown()
    wanted.set(manifest, isKnown ? KNOWN : WANTED)
  }

  const remember = (range: DigestRange) => rememberBlocks(options, wanted, copier.findings, range)
  for await (const needed of digestRanges(remember, options.digestsPerPass))
    await inParallel(needed.entries(), ([digest, length]) => copier.block(digest, length))

  await to.sync()
  for (const [manifest, state] of wanted.entries()) {
    if (state !== WANTED) continue
    const isHurt = !damagedToo && (await isHurtByBlock(options, manifest, copier.findings))
    if (!isHurt) await copier.manifest(manifest)
  }
  await to.sync()
  return { ...copier.counts(), ...(await copier.findings.explain({ store: from, roots, signal })) }
}

/** Sets the stored length of every block that a wanted disk needs; a disk whose manifest is damaged is hurt. */
async function rememberBlocks(
  { from, signal }: CopyOptions,
  wanted: DigestMap,
  findings: CheckFindings,
  range: DigestRange,
): Promise<void> {
  for (const [manifest, state] of wanted.entries()) {
    if (state !== WANTED) continue
    try {
      for await (const { digest, storedLength } of walkManifest(from.manifests, manifest, signal))
        range.set(digest, storedLength)
    } catch (error) {
      findings.add('manifest', manifest, error)
      wanted.set(manifest, HURT)
    }
  }
}

async function isHurtByBlock({ from, signal }: CopyOptions, manifest: Digest, findings: CheckFindings) {
  if (findings.isEmpty) return false
  for await (const { digest } of walkManifest(from.manifests, manifest, signal))
    if (findings.has('block', digest)) return true
  return false
}

function createCopier({ from, to, signal, verifyKnown, bytesPerSecond, onProgress }: CopyOptions) {
  const findings = new CheckFindings()
  const counts = { manifests: 0, blocks: 0, bytes: 0, known: 0 }
  const startedAt = performance.now()

  const count = async (kind: 'manifests' | 'blocks' | 'known', bytes: number) => {
    counts[kind]++
    counts.bytes += bytes
    onProgress?.({ ...counts })
    const dueAt = startedAt + (bytesPerSecond ? (counts.bytes / bytesPerSecond) * 1000 : 0)
    const waitMs = dueAt - performance.now()
    if (waitMs > 1) await setTimeout(waitMs, undefined, { signal }).catch(() => undefined)
    signal.throwIfAborted()
  }

  /** Whether `to` has the block, and sound as far as that is asked. */
  const stateOf = async (digest: Digest, length: number): Promise<'missing' | 'damaged' | 'known'> => {
    const size = await to.blocks.claim(digest)
    if (size === undefined) return 'missing'
    if (size !== length) return 'damaged'
    if (!verifyKnown) return 'known'
    return verifyBlock(to, digest, length).then(() => 'known' as const, asDamaged)
  }

  return {
    findings,
    counts: (): CopyCounts => ({ ...counts }),
    addKnown: () => counts.known++,
    async block(digest: Digest, length: number): Promise<void> {
      signal.throwIfAborted()
      const state = await stateOf(digest, length)
      if (state === 'known') return await count('known', 0)
      let bytes: Uint8Array
      try {
        bytes = await readSound(from, digest, length)
      } catch (error) {
        return findings.add('block', digest, error)
      }
      await to.blocks[state === 'damaged' ? 'mend' : 'put'](digest, bytes)
      await count('blocks', bytes.length)
    },
    async manifest(digest: Digest): Promise<void> {
      signal.throwIfAborted()
      const file = { kind: 'manifest' as const, digest }
      const isThere = (await to.manifests.claim(digest)) !== undefined
      if (isThere && (await isSound(to, file, signal))) return await count('known', 0)
      const sizes: number[] = []
      const parts = readParts(from.manifests, digest, (size) => sizes.push(size))
      await to.manifests[isThere ? 'mend' : 'put'](digest, parts)
      if (!(await isSound(to, file, signal)))
        throw new LibraryError('corrupt', `copy manifest ${digest}: what was written is not what was read`)
      await count(
        'manifests',
        sizes.reduce((sum, size) => sum + size, 0),
      )
    },
  }
}

/** The bytes of a manifest as they are stored. */
async function* readParts(
  manifests: ManifestStore,
  digest: Digest,
  onPart: (size: number) => void,
): AsyncGenerator<Uint8Array> {
  await using file = await manifests.open(digest)
  for (let offset = 0; ; ) {
    const part = new Uint8Array(PART)
    const length = await file.readAt(part, offset)
    if (length === 0) return
    onPart(length)
    yield part.subarray(0, length)
    offset += length
  }
}

const asDamaged = (error: unknown) => {
  if (isDamage(error)) return 'damaged' as const
  throw error
}

/** Goes on with nothing new after the first failure, which is told of once nothing is under way any more. */
async function inParallel<T>(things: Iterable<T>, work: (thing: T) => Promise<void>): Promise<void> {
  const queue = things[Symbol.iterator]()
  const failures: unknown[] = []
  const run = async () => {
    for (let next = queue.next(); !next.done && failures.length === 0; next = queue.next())
      await work(next.value).catch((error) => failures.push(error))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, run))
  if (failures.length > 0) throw failures[0]
}
