import type { Dialect, SelectQueryBuilder } from 'kysely'
import type { Schema } from './schema.ts'

/** All that differs between databases; one file for each, and nothing else knows which one it is. */
export interface CatalogDialect {
  readonly kysely: Dialect
  /** Lets several workers look for work at once without taking the same row. */
  lockForClaim<DB extends Schema, T extends keyof DB, Row>(
    query: SelectQueryBuilder<DB, T, Row>,
  ): SelectQueryBuilder<DB, T, Row>
  /** Statements, outside of a transaction, that erase what was deleted from wherever the database keeps copies. */
  readonly erase: readonly string[]
  /** Statements around a transaction whose loss by a power failure would be harmless. */
  readonly relaxed: { readonly before: string; readonly after: string }
}
