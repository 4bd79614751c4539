import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Catalog, openCatalog } from '#control/catalog/catalog.ts'
import { openStore } from '#data/store/open-store.ts'
import type { Store } from '#data/store/store.ts'
import type { Config } from '../config.ts'
import { catalogPlace, makeDataFolder } from '../data-folder.ts'
import { holdStorePlace } from '../hold-store-place.ts'

/** Where a library's records and bytes are, without the library. */
export interface Places extends AsyncDisposable {
  readonly catalog: Catalog
  readonly store: Store
}

/** @param upTo the newest migration that is to be made; by default all */
export async function openPlaces(config: Config, upTo?: string): Promise<Places> {
  await makeDataFolder(config.data)
  await mkdir(join(config.data, 'spool'), { recursive: true, mode: 0o700 })
  await using opened = new AsyncDisposableStack()
  const place = await holdStorePlace(config, opened)
  const store = opened.use(await openStore(place, { reserve: { bytes: config.reserve } }))
  const catalog = opened.use(
    await openCatalog({ ...catalogPlace(config), ...(upTo === undefined ? {} : { upTo }) }),
  )
  const closing = opened.move()
  return { catalog, store, [Symbol.asyncDispose]: () => closing.disposeAsync() }
}

/** @returns whether not even one manifest or block is stored */
export async function isEmptyStore({ manifests, blocks }: Store): Promise<boolean> {
  for (const files of [manifests, blocks]) for await (const _ of files.list()) return false
  return true
}
