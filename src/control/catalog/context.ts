import type { Kysely } from 'kysely'
import { type IdPrefix, newId, type Random } from '#model/ids.ts'
import type { Topic } from './changes.ts'
import type { CatalogDialect } from './dialect.ts'
import type { Schema } from './schema.ts'

/** What the functions of a table work on: the catalog, or one transaction in it. */
export interface TableContext {
  readonly db: Kysely<Schema>
  readonly dialect: Pick<CatalogDialect, 'claiming' | 'lockFree' | 'lockForChange' | 'position' | 'moving'>
  readonly random: Random
  /** To be called after a change that others may wait for; they hear of it once the transaction has ended. */
  readonly touch: (topic: Topic) => void
}

const TRIES = 20

/**
 * Inserts a row under an id that no other has.
 * @param insert says whether the id was free; it must not fail where it was not, as that would end a transaction
 */
export async function insertWithNewId(
  prefix: IdPrefix,
  random: Random,
  insert: (id: string) => Promise<boolean>,
): Promise<string> {
  for (let count = 0; count < TRIES; count++) {
    const id = newId(prefix, random)
    if (await insert(id)) return id
  }
  throw new Error(`internal error: ${TRIES} random ids of kind ${prefix} were all taken`)
}
