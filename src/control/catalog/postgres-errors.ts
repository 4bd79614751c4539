import { LibraryError } from '#base/errors.ts'
import { HAS_MOVED } from './dialect.ts'

/** What became of a statement, or of a connection that was asked for. */
export interface PostgresFailure {
  /** What is thrown on. */
  readonly error: unknown
  /** The connection is of no use any more, and whether the statement was carried out is not known. */
  readonly lost: boolean
  /** Another try in a moment may end better. */
  readonly passes: boolean
}

/** What the server says (postgresql.org/docs/current/errcodes-appendix.html) that no bug of ours leads to. */
const REASONS: Readonly<Record<string, string>> = {
  '25006': 'it may only be read',
  '25P03': 'a transaction rested too long',
  '28000': 'it does not let us in',
  '28P01': 'it does not let us in',
  '3D000': 'there is no such database',
  '40001': 'others changed the same',
  '40P01': 'others changed the same',
  '42501': 'our user lacks a right',
  '53000': 'it lacks resources',
  '53100': 'its disk is full',
  '53200': 'it has no memory left',
  '53300': 'it has too many clients',
  '55P03': 'others held a lock for too long',
  '57014': 'a statement took too long',
  '57P01': 'it is being stopped',
  '57P02': 'it has crashed',
  '57P03': 'it is starting or stopping',
  '57P04': 'the database was dropped',
  '57P05': 'a connection rested too long',
  '58000': 'its system reports an error',
  '58030': 'its disk reports an error',
}
/** Those after which the server has closed the connection, or one to another server would serve better. */
const LOST = ['25006', '25P03', '57P01', '57P02', '57P03', '57P04', '57P05']
/** Fields of the driver's errors. */
const SAYING_ROWS = ['detail', 'where', 'internalQuery']
/** A trigger of ours refused a change. */
export const MOVED_AWAY = 'IL001'
const CORRUPT = ['XX001', 'XX002']
/** A text with a character that PostgreSQL keeps in none: U+0000. */
const NOT_A_TEXT = '22021'
const NOBODY_THERE = /^(E[A-Z]+|EAI_[A-Z]+|ERR_(SSL|TLS)_\w+|CERT_\w+|\w+_CERT\w*)$/
/** The driver's own, which have no code. */
const LOST_MESSAGE =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|The server does not support SSL)/
const SLOW_MESSAGE = /^(Query read timeout|timeout expired)/
const BUSY_MESSAGE = /^timeout exceeded when trying to connect/

/** An operator has to do something first. */
const LASTING = ['28000', '28P01', '3D000', '42501']

/**
 * Tells what passes, or what an operator can mend, from bugs. What rows hold is taken out of errors: they are logged,
 * and payloads hold secrets.
 */
export function failureOf(cause: unknown): PostgresFailure {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  const message = cause instanceof Error ? cause.message : ''
  if (cause instanceof Error) for (const field of SAYING_ROWS) Reflect.deleteProperty(cause, field)
  const unavailable = (reason: string, lost: boolean, passes = lost) => ({
    error: new LibraryError('unavailable', `use the catalog: ${reason}`, { cause }),
    lost,
    passes,
  })
  const other = (error: unknown) => ({ error, lost: false, passes: false })
  const reason = REASONS[code]
  if (reason !== undefined) return unavailable(reason, LOST.includes(code), !LASTING.includes(code))
  if (code === MOVED_AWAY) return other(new LibraryError('unavailable', HAS_MOVED, { cause }))
  if (CORRUPT.includes(code))
    return other(new LibraryError('corrupt', 'use the catalog: it is damaged', { cause }))
  if (code === NOT_A_TEXT)
    return other(new LibraryError('invalid', 'a text must not have the character U+0000', { cause }))
  if (BUSY_MESSAGE.test(message)) return unavailable('all connections to it are in use', false)
  if (SLOW_MESSAGE.test(message)) return unavailable('it does not answer', true)
  if (code.startsWith('08') || LOST_MESSAGE.test(message)) return unavailable('the connection was lost', true)
  if (NOBODY_THERE.test(code)) return unavailable(`it is not reached (${code})`, true)
  return other(cause)
}
