import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openStore, type StorePlace } from '#data/store/open-store.ts'
import type { Config } from './config.ts'

/**
 * Where the store is, for threads and processes too; an object store's credentials are renewed until `opened` is
 * disposed of.
 * @throws unavailable where there are no credentials, or they or the address open nothing
 */
export async function holdStorePlace(
  { data, store, cache }: Pick<Config, 'data' | 'store' | 'cache'>,
  opened: AsyncDisposableStack,
): Promise<StorePlace> {
  if (!store) return join(data, 'store')
  // A library in a folder does without the programs of object stores, which take a while to load.
  const { holdS3Place } = await import('#data/store/s3/credentials.ts')
  const { place } = opened.use(await holdS3Place({ address: store, folder: join(data, 'spool') }))
  // What is set wrongly is told now, and not with each registration.
  await using opening = await openStore(place)
  await opening.generation()
  if (cache === undefined) return place
  const folder = join(data, 'cache')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return { ...place, cache: { folder, bytes: cache } }
}
