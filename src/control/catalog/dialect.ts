import type {
  ColumnDataType,
  Dialect,
  Expression,
  Kysely,
  KyselyPlugin,
  RawBuilder,
  SelectQueryBuilder,
} from 'kysely'
import type { Topic } from './changes.ts'
import type { Schema } from './schema.ts'

/** All that differs between databases; one file for each, and nothing else knows which one it is. */
export interface CatalogDialect {
  readonly kysely: Dialect
  /** For transactions that wait for each other, so that they leave connections to those that do not. */
  readonly writing: Dialect
  /** For changes of tables, which may take long. */
  readonly migrating: Dialect
  /** @throws invalid where no catalog can be kept in this database */
  readonly demandUsable?: (db: Kysely<Schema>) => Promise<void>
  /** What changes queries into what the database understands. */
  readonly plugins: readonly KyselyPlugin[]
  /** What begins a claim: whoever counts the jobs that run is the only one who adds to them. Undefined where he is. */
  readonly claiming: ((kind: string) => RawBuilder<unknown>) | undefined
  /** Ends a query for a `job` to take: one that somebody changes just now is not waited for, but passed over. */
  readonly lockFree: RawBuilder<unknown>
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
    readonly serial: ColumnDataType | Expression<unknown>
  }
  /** Ends the definition of a table whose small rows are read in the order of the primary key, and lie in it. */
  readonly clustered: RawBuilder<unknown>
  /** Where, in characters from 1, the first `needle` begins; 0 where there is none. */
  position(haystack: Expression<unknown>, needle: Expression<unknown>): RawBuilder<number>
  /** The statements that begin a transaction of each kind, as `Catalog` says; and those that follow its end. */
  readonly transactions: Readonly<Record<TransactionKind, Around>>
  /** The statement that ends a transaction, and tells other processes what was changed in it. */
  commit(topics: ReadonlySet<Topic>): string
  /** Tells of what other processes change, until disposed of; undefined where that is seen only by looking. */
  readonly listen: ((told: (topic: Topic) => void) => AsyncDisposable) | undefined
  /** Where a library moves away from a database, or into it. */
  readonly moving: {
    /** Statements that have every change of a table fail from now on, and those that end that. */
    refuse(table: string): readonly string[]
    accept(table: string): readonly string[]
    /** Has the next number that an insert draws lie behind all that are there. */
    restart(table: string, column: string): readonly string[]
  }
  /** Statements, outside of a transaction, that erase what was deleted from wherever the database keeps copies. */
  readonly erase: readonly string[]
}

/** What becomes of changes of a catalog that was left. */
export const HAS_MOVED = 'use the catalog: the library has moved to another place'

export type TransactionKind = 'transaction' | 'relaxed' | 'beside' | 'snapshot'

export interface Around {
  readonly before: readonly string[]
  readonly after: readonly string[]
}
