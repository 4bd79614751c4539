import { LibraryError } from '#base/errors.ts'
import { isDamage, systemCode } from '#data/store/storage-errors.ts'
import type { Digest, Store } from '#data/store/store.ts'
import { verifyBlock } from './check.ts'
import { walkManifest } from './walk-manifest.ts'

/** A stored file by its kind and name. */
export interface CheckedFile {
  readonly kind: 'manifest' | 'block'
  readonly digest: Digest
}

/** A file that is not what its name says, or that is not there although a manifest names it. */
export interface DamagedFile extends CheckedFile {
  readonly why: string
  readonly isMissing: boolean
}

/** The last file that a round read; an empty digest for the one before the first of its kind. */
export type CheckPlace = CheckedFile

export const ROUND_START: CheckPlace = { kind: 'manifest', digest: '' }

export interface RoundOptions {
  readonly store: Store
  /** Goes on behind this one. */
  readonly after: CheckPlace
  /** Waits until so many bytes more may be read. */
  readonly pace: (bytes: number) => Promise<void>
  readonly onDamaged: (file: DamagedFile) => void
  readonly onPlace: (place: CheckPlace) => void
  readonly signal: AbortSignal
}

/** What a look at a file's size counts for, bytes. */
const LOOK = 512
/** Whatever is wrong with a store of which more than this is damaged, moving it all away makes nothing better. */
const MOVED_MAX = 1000

/** Bytes at rest that are still to be read behind a place. */
export async function bytesAfter(store: Store, after: CheckPlace): Promise<number> {
  let bytes = 0
  if (after.kind === 'manifest')
    for await (const { size } of store.manifests.list(after.digest)) bytes += size
  const from = after.kind === 'block' ? after.digest : ''
  for await (const { size } of store.blocks.list(from)) bytes += size
  return bytes
}

/**
 * Reads all manifests and then all blocks from a place on, one after another and in the order of their names, and looks
 * whether each block that a manifest names is there. A damaged block is moved into quarantine at once; a manifest stays
 * where it is, for the rest of its disk can still be read. Safe while everything else runs: what a collection removes
 * meanwhile may be told of as missing, so whoever is told asks who needs it.
 * @throws unavailable where the store does not answer, or the signal's reason
 */
export async function checkRound(options: RoundOptions): Promise<void> {
  const { store, after, pace, onPlace, signal } = options
  const round = createRound(options)
  if (after.kind === 'manifest') {
    for await (const { digest, size } of store.manifests.list(after.digest)) {
      await pace(size)
      await round.manifest(digest)
      onPlace({ kind: 'manifest', digest })
    }
  }
  const from = after.kind === 'block' ? after.digest : ''
  for await (const { digest, size } of store.blocks.list(from)) {
    await pace(size)
    signal.throwIfAborted()
    await round.block(digest)
    onPlace({ kind: 'block', digest })
  }
}

function createRound({ store, pace, onDamaged, signal }: RoundOptions) {
  let moved = 0

  async function block(digest: Digest, expected = 0): Promise<void> {
    const fault = await faultOf(store, digest, expected)
    if (!fault) return
    onDamaged({ kind: 'block', digest, why: fault.message, isMissing: false })
    if (isWrong(fault) && moved++ < MOVED_MAX) await store.blocks.quarantine(digest)
  }

  async function named(digest: Digest, storedLength: number): Promise<void> {
    await pace(LOOK)
    const size = await store.blocks.sizeOf(digest)
    if (size === undefined) onDamaged({ kind: 'block', digest, why: 'it is not stored', isMissing: true })
    else if (size !== storedLength) await block(digest, storedLength)
  }

  return {
    block,
    async manifest(digest: Digest): Promise<void> {
      try {
        for await (const entry of walkManifest(store.manifests, digest, signal))
          await named(entry.digest, entry.storedLength)
      } catch (error) {
        if (isMissing(error)) return
        if (!isDamage(error)) throw error
        onDamaged({ kind: 'manifest', digest, why: error.message, isMissing: false })
      }
    },
  }
}

/** Reads twice before it says that something is wrong: a bad moment is no damage. */
async function faultOf(store: Store, digest: Digest, expected: number): Promise<LibraryError | undefined> {
  let fault: LibraryError | undefined
  for (let reading = 1; reading <= 2; reading++) {
    try {
      await verifyBlock(store, digest, expected)
      return undefined
    } catch (error) {
      if (isMissing(error)) return undefined
      if (!isDamage(error)) throw error
      fault = error
    }
  }
  return fault
}

const isMissing = (error: unknown) => error instanceof LibraryError && error.code === 'not_found'

/** Whether wrong bytes were read, or no file is there; what could not be read at all may be readable tomorrow. */
const isWrong = (fault: LibraryError) =>
  fault.code === 'corrupt' || ['EISDIR', 'ELOOP'].includes(systemCode(fault.cause) ?? '')

/** Says whether a file is there and what its name says. @throws unavailable */
export async function isSound(
  store: Store,
  { kind, digest }: CheckedFile,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    if (kind === 'block') await verifyBlock(store, digest, 0)
    else for await (const _ of walkManifest(store.manifests, digest, signal));
    return true
  } catch (error) {
    if (isMissing(error) || isDamage(error)) return false
    throw error
  }
}
