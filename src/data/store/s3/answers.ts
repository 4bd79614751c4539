import { LibraryError } from '#base/errors.ts'
import { errorCodeOf, StrangeAnswer } from './xml.ts'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export const headerOf = ({ headers }: Answer, name: string): string | undefined => {
  const value = headers[name]
  return typeof value === 'string' ? value : undefined
}

/** An answer that is no good, and what helps: the same again, or with another time or other credentials. */
export class Unwelcome extends Error {
  readonly again: 'no' | 'later' | 'other clock' | 'other credentials'
  readonly code: string
  readonly status: number

  constructor(again: Unwelcome['again'], status: number, code: string) {
    super(`the object store answers ${status}${code === '' ? '' : ` ${code}`}`)
    this.again = again
    this.status = status
    this.code = code
  }
}

const LATER_STATUS = new Set([408, 409, 425, 429, 500, 502, 503, 504, 507, 509])
const LATER_CODES = new Set([
  'BadDigest',
  'IncompleteBody',
  'InternalError',
  'RequestTimeout',
  'ServiceUnavailable',
  'SlowDown',
  'Throttling',
  'XAmzContentSHA256Mismatch',
])
const EXPIRED = new Set(['ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired'])

/** Why an answer that is no success is none. */
export function unwelcome(answer: Answer): Unwelcome {
  const { status, body } = answer
  const code = errorCodeOf(body.toString()) ?? ''
  return new Unwelcome(whatHelps(status, code), status, code)
}

function whatHelps(status: number, code: string): Unwelcome['again'] {
  if (code === 'RequestTimeTooSkewed') return 'other clock'
  if (EXPIRED.has(code)) return 'other credentials'
  if (LATER_STATUS.has(status) || LATER_CODES.has(code)) return 'later'
  // An answer to HEAD never says why; a clock or a token may be the reason.
  return code === '' && (status === 400 || status === 403) ? 'other clock' : 'no'
}

const HINTS: Readonly<Record<string, string>> = {
  AccessDenied: 'Give these credentials the right to read, write, list and delete in the bucket.',
  InvalidAccessKeyId: 'Look at the credentials that the library was started with.',
  NoSuchBucket: 'Make the bucket, or mend its name in the setting store.',
  PermanentRedirect: 'Mend the region or the endpoint in the setting store.',
  AuthorizationHeaderMalformed: 'Mend the region in the setting store.',
  SignatureDoesNotMatch: 'Look at the credentials that the library was started with.',
}

/** What the store's callers are told. No message has more of a request than its key. */
export function storeError(attempt: string, cause: unknown): LibraryError {
  if (cause instanceof LibraryError) return cause
  const hint =
    (cause instanceof Unwelcome && HINTS[cause.code]) ||
    'Look whether the object store runs and can be reached from here; the log has the details.'
  return new LibraryError('unavailable', `${attempt}: ${reasonOf(cause)}`, { cause, hint })
}

function reasonOf(cause: unknown): string {
  if (cause instanceof Unwelcome) return cause.message
  if (cause instanceof StrangeAnswer) return `the object store's answer is not one of S3: ${cause.message}`
  const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
  return `the object store does not answer${code}`
}
