import { LibraryError } from '#base/errors.ts'
import { isDamage, isWrong } from '#data/store/storage-errors.ts'
import type { Digest, Store } from '#data/store/store.ts'
import { verifyBlock, verifyManifest } from './check.ts'
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
/** Files come in the order of their digests, so as many in a row mean that most of the store cannot be read. */
const IN_A_ROW_MAX = 32

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
 * Reads all manifests and then all blocks from a place on, one after another and in the order of their names, and
 * looks whether each block that a manifest names is there. What seems damaged is read again once something else was
 * sound, and is then believed: a damaged block is moved into quarantine, a manifest stays where it is, for the rest of
 * its disk can still be read. Where many in a row cannot be read, or none at all, the disk is at fault, and nothing is
 * moved or told. Safe while everything else runs: what a collection removes meanwhile may be told of as missing, so
 * whoever is told asks who needs it.
 * @throws unavailable where the store does not answer or the disk is at fault; the signal's reason
 */
export async function checkRound(options: RoundOptions): Promise<void> {
  const { store, after, pace, signal } = options
  const round = createRound(options)
  if (after.kind === 'manifest') {
    for await (const { digest, size } of store.manifests.list(after.digest)) {
      await pace(size)
      await round.read({ kind: 'manifest', digest })
    }
  }
  const from = after.kind === 'block' ? after.digest : ''
  for await (const { digest, size } of store.blocks.list(from)) {
    await pace(size)
    signal.throwIfAborted()
    await round.read({ kind: 'block', digest })
  }
  await round.settle()
}

/** A file that seems damaged. @property expected bytes at rest where a manifest says, else 0 */
interface Suspect extends CheckedFile {
  readonly expected: number
}

function createRound({ store, pace, onDamaged, onPlace, signal }: RoundOptions) {
  let moved = 0
  let anySound = false
  let suspects: readonly Suspect[] = []

  /** What is wrong with a file, if anything is; what is gone was collected. */
  async function faultOf({ kind, digest, expected }: Suspect): Promise<LibraryError | undefined> {
    try {
      if (kind === 'block') await verifyBlock(store, digest, expected)
      else await verifyManifest(store, digest, signal)
      return undefined
    } catch (error) {
      if (isMissing(error)) return undefined
      if (!isDamage(error)) throw error
      return error
    }
  }

  /** Reads again what seemed damaged, now that others could be read or enough could not. */
  async function settle(): Promise<void> {
    const faults: { readonly suspect: Suspect; readonly fault: LibraryError }[] = []
    for (const suspect of suspects) {
      const fault = await faultOf(suspect)
      if (fault) faults.push({ suspect, fault })
    }
    const isAway = !anySound && faults.every(({ fault }) => !isWrong(fault))
    const [first] = faults
    if (first && (faults.length >= IN_A_ROW_MAX || isAway)) throw tooMany(faults.length, first.fault)
    suspects = []
    for (const { suspect, fault } of faults) {
      const { kind, digest } = suspect
      onDamaged({ kind, digest, why: fault.message, isMissing: false })
      if (kind === 'block' && isWrong(fault) && moved++ < MOVED_MAX) await store.blocks.quarantine(digest)
    }
  }

  async function look(file: Suspect): Promise<void> {
    if (await faultOf(file)) suspects = [...suspects, file]
    else anySound = true
    if (suspects.length >= IN_A_ROW_MAX || (anySound && suspects.length > 0 && suspects.at(-1) !== file))
      await settle()
  }

  async function named(digest: Digest, storedLength: number): Promise<void> {
    await pace(LOOK)
    const size = await store.blocks.sizeOf(digest)
    // Where the whole store is gone, this says so.
    if (size === undefined) await store.generation()
    if (size === undefined) onDamaged({ kind: 'block', digest, why: 'it is not stored', isMissing: true })
    else if (size !== storedLength) await look({ kind: 'block', digest, expected: storedLength })
  }

  return {
    settle,
    /** @param file of which the places before are done with */
    async read(file: CheckedFile): Promise<void> {
      await look({ ...file, expected: 0 })
      if (file.kind === 'manifest') await readNamed(file.digest)
      // What is still to be read again must be met again after a restart.
      if (suspects.length === 0) onPlace(file)
    },
  }

  async function readNamed(manifest: Digest): Promise<void> {
    try {
      for await (const entry of walkManifest(store.manifests, manifest, signal))
        await named(entry.digest, entry.storedLength)
    } catch (error) {
      // That was said.
      if (!isMissing(error) && !isDamage(error)) throw error
    }
  }
}

const tooMany = (count: number, cause: LibraryError) =>
  new LibraryError('unavailable', `${count} stored files in a row are damaged or cannot be read`, {
    cause,
    hint: 'Look at the disk, the mount and the memory first; nothing was moved. "check" says what it finds.',
  })

const isMissing = (error: unknown) => error instanceof LibraryError && error.code === 'not_found'

/** Says whether a file is there and what its name says. @throws unavailable */
export async function isSound(
  store: Store,
  { kind, digest }: CheckedFile,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    if (kind === 'block') await verifyBlock(store, digest, 0)
    else await verifyManifest(store, digest, signal)
    return true
  } catch (error) {
    if (isMissing(error) || isDamage(error)) return false
    throw error
  }
}
