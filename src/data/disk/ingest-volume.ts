import { LibraryError } from '#base/errors.ts'
import type { ImportLimits } from '#base/limits.ts'
import type { IngestResult, VolumeSource } from './ingest-types.ts'
import type { IngestDeps } from './store-disk.ts'

export async function ingestVolume(
  _source: VolumeSource,
  _limits: ImportLimits,
  _deps: IngestDeps,
): Promise<IngestResult> {
  throw new LibraryError('unavailable', 'read a volume: not yet')
}
