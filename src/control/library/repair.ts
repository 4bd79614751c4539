import { LibraryError } from '#base/errors.ts'
import { Refusal, SourceFailure } from '#base/refusal.ts'
import type { IngestSource } from '#data/disk/ingest-types.ts'
import type { Image } from '#model/image.ts'
import type { LibraryOptions } from './deps.ts'

/** Where an image's bytes were had again. */
export type RepairedFrom = 'a copy of the disk' | 'its source'

/**
 * Reads an image's bytes once more from where they may be had, which mends what is damaged of them; wherever they come
 * from, only bytes of the right digest take the place of damaged ones, and nothing else changes.
 * @throws not_found; conflict where there is no such place; invalid where the bytes are others by now; unavailable
 */
export type Repair = (id: string, signal: AbortSignal) => Promise<RepairedFrom>

export interface RepairOptions extends Pick<LibraryOptions, 'catalog' | 'ingest' | 'limits' | 'allowSource'> {
  /** The path of a raw file that holds a manifest's disk, where servers have one. */
  readonly copyOf: (manifest: string) => Promise<string | undefined>
}

interface Attempt {
  readonly from: RepairedFrom
  readonly source: IngestSource
  readonly expectedSha256?: string
}

export function createRepair({ catalog, ingest, limits, allowSource, copyOf }: RepairOptions): Repair {
  return async (id, signal) => {
    const image = await catalog.images.find(id)
    if (!image || image.status === 'deleted')
      throw new LibraryError('not_found', `image ${id} does not exist`)
    if (image.manifest === null) throw new LibraryError('conflict', `image ${id} has no bytes to mend`)
    let failure: unknown
    for (const { from, ...request } of attemptsFor(image, await copyOf(image.manifest))) {
      try {
        const options = { signal, onProgress: () => {} }
        const { manifest } = await ingest({ ...request, limits, allowSource }, options)
        if (manifest === image.manifest) return from
        failure = new LibraryError('invalid', `repair image ${id}: ${from} has other bytes by now`)
      } catch (error) {
        signal.throwIfAborted()
        failure = toLibraryError(error, `repair image ${id} from ${from}`)
      }
    }
    throw failure ?? nothingToReadFrom(image)
  }
}

/** What a source or its format refuse is for the operator, who asked, as any other failure. */
function toLibraryError(cause: unknown, attempt: string): unknown {
  if (!(cause instanceof SourceFailure || cause instanceof Refusal)) return cause
  const hint = cause.hint === undefined ? {} : { hint: cause.hint }
  return new LibraryError('unavailable', `${attempt}: ${cause.message}`, { cause, ...hint })
}

/** The nearest first. */
function attemptsFor({ virtualSize, provenance }: Image, copy: string | undefined): Attempt[] {
  const attempts: Attempt[] = []
  if (copy !== undefined) {
    const source = { kind: 'volume', size: virtualSize, base: { file: copy }, layers: [] } as const
    attempts.push({ from: 'a copy of the disk', source: { ...source, dataLimit: virtualSize } })
  }
  const { url, sha256 } = provenance
  if (url !== null && sha256 !== null && /^https?:/.test(url))
    attempts.push({ from: 'its source', source: { kind: 'http', url }, expectedSha256: sha256 })
  return attempts
}

const nothingToReadFrom = ({ id }: Image) =>
  new LibraryError('conflict', `repair image ${id}: no server has a copy of it, and no source is known`, {
    hint: 'Register or upload the same image again; or restore the missing blocks from a backup of the store.',
  })
