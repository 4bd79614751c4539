import { join } from 'node:path'
import type { StorePlace } from '#data/store/open-store.ts'
import { holdS3Place } from '#data/store/s3/credentials.ts'
import type { Config } from './config.ts'

/**
 * Where the store is, for threads and processes too; an object store's credentials are renewed until `opened` is
 * disposed of.
 * @throws unavailable where there are no credentials
 */
export async function holdStorePlace(
  { data, store }: Pick<Config, 'data' | 'store'>,
  opened: AsyncDisposableStack,
): Promise<StorePlace> {
  if (!store) return join(data, 'store')
  return opened.use(await holdS3Place({ address: store, folder: join(data, 'spool') })).place
}
