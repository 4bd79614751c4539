import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { SqliteDialect } from 'kysely'
import type { CatalogDialect } from './dialect.ts'

/** How long another process may hold the write lock (a backup, an operator's command) before we give up. */
const BUSY_MS = 5000
const STATEMENTS_MAX = 500

/**
 * Opens a catalog in one SQLite file.
 * @param path `:memory:` for one that lives as long as the process
 */
export function openSqlite(path: string): CatalogDialect {
  const database = new DatabaseSync(path, { timeout: BUSY_MS, enableForeignKeyConstraints: true })
  database.exec('pragma journal_mode = wal')
  // What was answered must survive a power failure: in WAL mode anything less than FULL may lose the last commits.
  database.exec('pragma synchronous = full')
  const prepare = cachedStatements(database)
  return {
    kysely: new SqliteDialect({
      database: {
        // A transaction that reads first and then finds the file locked could not go on: take the lock at once.
        prepare: (text) => prepare(text === 'begin' ? 'begin immediate' : text),
        close: () => database.close(),
      },
    }),
    // There is one writer at a time, so there is nothing to skip.
    lockForClaim: (query) => query,
    relaxed: { before: 'pragma synchronous = normal', after: 'pragma synchronous = full' },
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

/** A statement in the shape that Kysely asks for. */
class Statement {
  readonly reader: boolean
  readonly #statement: StatementSync

  constructor(statement: StatementSync) {
    this.#statement = statement
    this.reader = statement.columns().length > 0
  }

  all(parameters: readonly unknown[]) {
    return this.#statement.all(...(parameters as SQLInputValue[]))
  }

  run(parameters: readonly unknown[]) {
    return this.#statement.run(...(parameters as SQLInputValue[]))
  }

  iterate(parameters: readonly unknown[]) {
    return this.#statement.iterate(...(parameters as SQLInputValue[]))
  }
}
