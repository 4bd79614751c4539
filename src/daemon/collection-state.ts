import type { Catalog } from '#control/catalog/catalog.ts'

/** What collections did, of whatever process. */
export interface CollectionState {
  /** Milliseconds since 1970. */
  readonly finishedAt: number
  /** Of all that ended. */
  readonly runs: number
  readonly bytesRemoved: number
}

const NAME = 'collection'

/** Undefined where none ever ended. */
export async function readCollectionState(
  catalog: Pick<Catalog, 'settings'>,
): Promise<CollectionState | undefined> {
  const text = await catalog.settings.get(NAME)
  return text === undefined ? undefined : (JSON.parse(text) as CollectionState)
}

/** Writes down that a collection has ended. */
export async function collectionEnded(
  catalog: Pick<Catalog, 'transaction'>,
  { finishedAt, bytesRemoved }: Pick<CollectionState, 'finishedAt' | 'bytesRemoved'>,
): Promise<void> {
  await catalog.transaction(async (tables) => {
    const before = await readCollectionState(tables)
    const state: CollectionState = {
      finishedAt,
      runs: (before?.runs ?? 0) + 1,
      bytesRemoved: (before?.bytesRemoved ?? 0) + bytesRemoved,
    }
    await tables.settings.set(NAME, JSON.stringify(state))
  })
}
