import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { SqliteAdapter, SqliteDialect, sql } from 'kysely'
import { LibraryError } from '#base/errors.ts'
import { type CatalogDialect, HAS_MOVED } from './dialect.ts'

/** How long another process may hold the write lock (a backup, an operator's command) before we give up. */
const BUSY_MS = 5000
const STATEMENTS_MAX = 500
const CHANGES = ['insert', 'update', 'delete'] as const

/**
 * Opens a catalog in one SQLite file.
 * @param path `:memory:` for one that lives as long as the process
 */
export function openSqlite(path: string): CatalogDialect {
  const database = translated(() => {
    const opened = new DatabaseSync(path, { timeout: BUSY_MS, enableForeignKeyConstraints: true })
    opened.exec('pragma journal_mode = wal')
    // What was answered must survive a power failure: in WAL mode anything less than FULL may lose the last commits.
    opened.exec('pragma synchronous = full')
    // A deleted row's bytes would stay in the file: hashes, and URLs that carry a right.
    opened.exec('pragma secure_delete = on')
    return opened
  })
  const prepare = cachedStatements(database)
  const kysely = new AtomicSqliteDialect({
    database: {
      // A transaction that reads first and then finds the file locked could not go on: take the lock at once.
      prepare: (text) => {
        // After a full disk or a broken one, SQLite has rolled back by itself; the reason is what counts then.
        if (text === 'rollback' && !database.isTransaction) return NOTHING
        return prepare(text === 'begin' ? 'begin immediate' : text)
      },
      close: () => database.close(),
    },
  })
  const strict = { before: ['begin'], after: [] }
  const relaxed = {
    before: ['pragma synchronous = normal', 'begin'],
    after: ['pragma synchronous = full'],
  }
  return {
    kysely,
    writing: kysely,
    migrating: kysely,
    // There is one writer at a time, so there is nothing to lock or to skip.
    claiming: undefined,
    lockFree: sql``,
    plugins: [],
    lockForChange: (query) => query,
    // Text is compared by its bytes, and kept as UTF-8.
    types: { name: 'text', bytes: 'blob', serial: 'integer' },
    clustered: sql`without rowid`,
    position: (haystack, needle) => sql<number>`instr(${haystack}, ${needle})`,
    transactions: {
      transaction: strict,
      relaxed,
      beside: relaxed,
      snapshot: { before: ['begin deferred'], after: [] },
    },
    commit: () => 'commit',
    listen: undefined,
    moving: {
      refuse: (table) =>
        CHANGES.map(
          (change) =>
            `create trigger if not exists ${table}_refuse_${change} before ${change} on ${table} ` +
            `begin select raise(abort, 'the library has moved'); end`,
        ),
      accept: (table) => CHANGES.map((change) => `drop trigger if exists ${table}_refuse_${change}`),
      // It draws one more than the highest that is there.
      restart: () => [],
    },
    // Where somebody reads or writes meanwhile, the next time does it: waiting would stop the whole process.
    erase: ['pragma busy_timeout = 0', 'pragma wal_checkpoint(truncate)', `pragma busy_timeout = ${BUSY_MS}`],
  }
}

/** Kysely takes it that SQLite cannot undo changes of tables; but it can, and so a migration is all or nothing. */
class AtomicSqliteDialect extends SqliteDialect {
  override createAdapter(): SqliteAdapter {
    return new (class extends SqliteAdapter {
      override get supportsTransactionalDdl() {
        return true
      }
    })()
  }
}

/** Preparing costs more than running: statements are kept by their text (the program has few). */
function cachedStatements(database: DatabaseSync): (text: string) => Statement {
  const statements = new Map<string, Statement>()
  return (text) => {
    const known = statements.get(text)
    if (known) return known
    const statement = new Statement(database.prepare(text))
    if (statements.size >= STATEMENTS_MAX) statements.clear()
    // A table made or changed later would make what was prepared before stale.
    if (/^(select|insert|update|delete|begin|commit|rollback)\b/.test(text)) statements.set(text, statement)
    return statement
  }
}

/** A statement that does nothing. */
const NOTHING = {
  reader: false,
  all: () => [],
  run: () => ({ changes: 0, lastInsertRowid: 0 }),
  iterate: () => [][Symbol.iterator](),
}

/** A statement in the shape that Kysely asks for. */
class Statement {
  readonly reader: boolean
  readonly #statement: StatementSync
  readonly #columns: readonly string[]

  constructor(statement: StatementSync) {
    this.#statement = statement
    this.#columns = statement.columns().map(({ name }) => name)
    this.reader = this.#columns.length > 0
    // Objects that we make of arrays are all of one shape, and so faster to make and to read.
    statement.setReturnArrays(true)
  }

  all(parameters: readonly unknown[]) {
    const rows = translated(() => this.#statement.all(...(parameters as SQLInputValue[])))
    return (rows as unknown as unknown[][]).map((values) => this.#rowOf(values))
  }

  #rowOf(values: readonly unknown[]): Record<string, unknown> {
    const row: Record<string, unknown> = {}
    for (const [index, column] of this.#columns.entries()) row[column] = values[index]
    return row
  }

  run(parameters: readonly unknown[]) {
    return translated(() => this.#statement.run(...(parameters as SQLInputValue[])))
  }

  *iterate(parameters: readonly unknown[]) {
    const rows = translated(() => this.#statement.iterate(...(parameters as SQLInputValue[])))
    for (const values of rows as unknown as Iterable<unknown[]>) yield this.#rowOf(values)
  }
}

/** SQLite's result codes that no bug of ours leads to (sqlite.org/rescode.html); the low byte is the class. */
const UNAVAILABLE = new Map([
  [5, 'another process holds its lock'],
  [6, 'another process holds its lock'],
  [8, 'it may only be read'],
  [10, 'the disk reports an error'],
  [13, 'the disk is full'],
  [14, 'it cannot be opened'],
])
const CORRUPT = [11, 26]
/** A trigger of ours refused a change. */
const REFUSED = 1811

function translated<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    const code = cause instanceof Error && 'errcode' in cause ? Number(cause.errcode) : 0
    if (code === REFUSED) throw new LibraryError('unavailable', HAS_MOVED, { cause })
    const number = code & 0xff
    const reason = UNAVAILABLE.get(number)
    if (reason) throw new LibraryError('unavailable', `use the catalog: ${reason}`, { cause })
    if (CORRUPT.includes(number))
      throw new LibraryError('corrupt', 'use the catalog: it is damaged', { cause })
    throw cause
  }
}
