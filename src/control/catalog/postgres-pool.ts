import { setTimeout as delay } from 'node:timers/promises'
import type { PostgresPoolClient } from 'kysely'
import pg from 'pg'
import { LibraryError } from '#base/errors.ts'
import { failureOf } from './postgres-errors.ts'

export interface PostgresLimits {
  /** Connections at most. */
  readonly connections: number
  /** How long a connection may take to come about, or to become free. */
  readonly connectMs: number
  /** How long one statement may take; undefined for any time. */
  readonly statementMs: number | undefined
  /** How much longer the server may need to say so; then it counts as gone. */
  readonly answerMs: number
  /** How long it may wait for others. */
  readonly lockMs: number
  /** How long a transaction may rest between statements, as that of a process that stands still does. */
  readonly restMs: number
  /** How long what may be repeated is tried again for. */
  readonly patienceMs: number
}

export const POSTGRES_LIMITS: PostgresLimits = {
  connections: 12,
  connectMs: 5000,
  statementMs: 20_000,
  answerMs: 5000,
  lockMs: 10_000,
  restMs: 10_000,
  patienceMs: 10_000,
}

const KEEP_ALIVE_MS = 10_000
const IDLE_MS = 60_000
const LIFETIME_S = 1800
const FIRST_DELAY_MS = 25
const DELAY_MAX_MS = 1000

const INT8 = 20
const BYTEA = 17

/** Values in the types that SQLite gives them in. */
const types = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === INT8) return toNumber
    const parse: (value: string) => unknown = pg.types.getTypeParser(oid, format as 'text')
    if (oid !== BYTEA) return parse
    return (value: string) => new Uint8Array(parse(value) as Buffer)
  },
}

function toNumber(text: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number)) throw new Error(`internal error: ${text} is no exact number`)
  return number
}

/** @param url as libpq's (postgresql.org/docs/current/libpq-connect.html), without a password */
export function clientConfig(
  url: string,
  { statementMs, answerMs, connectMs, lockMs, restMs }: Omit<PostgresLimits, 'connections'>,
) {
  return {
    connectionString: url,
    application_name: 'image-library',
    connectionTimeoutMillis: connectMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    lock_timeout: lockMs,
    idle_in_transaction_session_timeout: restMs,
    ...(statementMs === undefined
      ? {}
      : { statement_timeout: statementMs, query_timeout: statementMs + answerMs }),
    types,
  } satisfies pg.ClientConfig
}

/** Connections in the shape that Kysely asks for; they are made when they are needed, and again where they are lost. */
export class PostgresPool {
  readonly options = {}
  readonly #pool: pg.Pool
  readonly #limits: PostgresLimits

  constructor(url: string, limits: PostgresLimits) {
    this.#limits = limits
    this.#pool = new pg.Pool({
      ...clientConfig(url, limits),
      max: limits.connections,
      idleTimeoutMillis: IDLE_MS,
      maxLifetimeSeconds: LIFETIME_S,
      // What the server compiles for a search of names takes a hundred times as long as the search.
      onConnect: async (client) => void (await client.query('set jit = off')),
      // A server that does not hear the goodbye must not keep the process.
      allowExitOnIdle: true,
    })
    // What happens to a connection is told by the statement that uses it; without a listener it would end the process.
    this.#pool.on('error', () => {})
    this.#pool.on('connect', (client) => void client.on('error', () => {}))
  }

  async connect(): Promise<PostgresPoolClient> {
    return new Session(this.#pool, this.#limits.patienceMs) as unknown as PostgresPoolClient
  }

  async end(): Promise<void> {
    await atMost(this.#limits.connectMs, this.#pool.end())
  }
}

/** Waits for something that may never come to its end. */
export async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController()
  const limit = delay(ms, undefined, { signal: over.signal }).catch(() => {})
  await Promise.race([work, limit]).finally(() => over.abort())
}

/** Reads, and beginnings: nothing is changed by them, or whatever was ends with the connection. */
const REPEATABLE = /^\s*(select|with|begin|show)\b/
const BEGIN = /^begin\b/
const COMMIT = /\bcommit$/
const ROLLBACK = 'rollback'

/**
 * One caller's use of a connection. Where that is lost, what may be sent again is, for a while and on another one; but
 * a transaction ends with its connection, and a commit is never repeated.
 */
class Session {
  readonly #pool: pg.Pool
  readonly #patienceMs: number
  #client: pg.PoolClient | undefined
  #state: 'free' | 'changing' | 'lost' = 'free'

  constructor(pool: pg.Pool, patienceMs: number) {
    this.#pool = pool
    this.#patienceMs = patienceMs
  }

  async query(text: string, parameters: readonly unknown[]): Promise<pg.QueryResult> {
    if (this.#state === 'lost')
      throw new LibraryError('unavailable', 'use the catalog: the connection was lost')
    const isFree = this.#state === 'free'
    const mayRepeat = patience(this.#patienceMs)
    for (;;) {
      this.#client ??= await this.#connect(mayRepeat)
      try {
        return this.#answered(text, await this.#client.query(text, [...parameters]))
      } catch (cause) {
        const { error, lost } = failureOf(cause)
        // Part of a beginning may have been carried out.
        if (lost || BEGIN.test(text)) this.#drop()
        if (!isFree && lost) this.#state = 'lost'
        if (!lost) throw error
        if (isFree && REPEATABLE.test(text)) {
          if (await mayRepeat()) continue
          throw error
        }
        throw isFree || COMMIT.test(text) ? unknownOutcome(cause) : error
      }
    }
  }

  async #connect(mayRepeat: () => Promise<boolean>): Promise<pg.PoolClient> {
    for (;;) {
      try {
        return await this.#pool.connect()
      } catch (cause) {
        const { error, passes } = failureOf(cause)
        if (!passes || !(await mayRepeat())) throw error
      }
    }
  }

  /** Of several statements, the driver gives all results. */
  #answered(text: string, answer: pg.QueryResult | pg.QueryResult[]): pg.QueryResult {
    const result = Array.isArray(answer) ? answer.at(-1) : answer
    if (!result) throw new Error('internal error: the catalog has answered nothing')
    if (BEGIN.test(text)) this.#state = 'changing'
    if (text === ROLLBACK || COMMIT.test(text)) this.#state = 'free'
    if (COMMIT.test(text) && result.command === 'ROLLBACK')
      throw new Error('internal error: a transaction went on after a statement of it had failed')
    return result
  }

  #drop(): void {
    this.#client?.release(true)
    this.#client = undefined
  }

  release(): void {
    this.#client?.release(this.#state !== 'free')
    this.#client = undefined
  }
}

/** @returns a function that waits, a little longer each time, and says whether there is time for another try */
function patience(ms: number): () => Promise<boolean> {
  const until = performance.now() + ms
  let next = FIRST_DELAY_MS
  return async () => {
    // Of many who lost the same server, not all come back at once.
    const wait = next * (0.5 + Math.random() / 2)
    next = Math.min(next * 2, DELAY_MAX_MS)
    if (performance.now() + wait > until) return false
    await delay(wait)
    return true
  }
}

const unknownOutcome = (cause: unknown) =>
  new LibraryError(
    'unavailable',
    'change the catalog: the connection was lost, and whether the change was made is not known',
    { cause },
  )
