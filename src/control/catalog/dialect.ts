import type { ColumnDataType, Dialect, Expression, RawBuilder, SelectQueryBuilder } from 'kysely'
import type { Schema } from './schema.ts'

/** All that differs between databases; one file for each, and nothing else knows which one it is. */
export interface CatalogDialect {
  readonly kysely: Dialect
  /** Lets several workers look for work at once without taking the same row. */
  lockForClaim<DB extends Schema, T extends keyof DB, Row>(
    query: SelectQueryBuilder<DB, T, Row>,
  ): SelectQueryBuilder<DB, T, Row>
  /** Lets nobody else change these rows before the transaction ends. */
  lockForChange<DB extends Schema, T extends keyof DB, Row>(
    query: SelectQueryBuilder<DB, T, Row>,
  ): SelectQueryBuilder<DB, T, Row>
  /** Types of columns that are not called the same everywhere. */
  readonly types: {
    /** Text that sorts by the bytes of its UTF-8. */
    readonly name: ColumnDataType | Expression<unknown>
    readonly bytes: ColumnDataType
    /** A number that an insert without it draws. */
    readonly serial: ColumnDataType
  }
  /** Ends the definition of a table whose small rows are read in the order of the primary key, and lie in it. */
  readonly clustered: RawBuilder<unknown>
  /** Where, in characters from 1, the first `needle` begins; 0 where there is none. */
  position(haystack: Expression<unknown>, needle: Expression<unknown>): RawBuilder<number>
  /** The statement that begins a transaction which sees one moment and changes nothing. */
  readonly snapshot: string
  /** Statements, outside of a transaction, that erase what was deleted from wherever the database keeps copies. */
  readonly erase: readonly string[]
  /** Statements around a transaction whose loss by a power failure would be harmless. */
  readonly relaxed: { readonly before: string; readonly after: string }
}
