import { STATUS_CODES } from 'node:http'
import { type AnswerName, answerNameOf } from '#base/answer-names.ts'
import { type ErrorCode, LibraryError } from '#base/errors.ts'

type Headers = Readonly<Record<string, string>>

/** A refusal with everything that stands in the answer. */
export interface Problem {
  readonly status: number
  readonly name: AnswerName
  /** Sentences. */
  readonly errors: readonly string[]
  /** What to do next, one sentence. */
  readonly hint?: string | undefined
  readonly headers: Headers
}

/** Thrown where HTTP itself, not the library, is the reason of a refusal. */
export class HttpProblem extends Error implements Problem {
  declare readonly name: AnswerName
  readonly status: number
  readonly errors: readonly string[]
  readonly headers: Headers

  constructor(status: number, name: AnswerName, errors: readonly string[], headers: Headers = {}) {
    super(errors[0] ?? name)
    this.status = status
    this.name = name
    this.errors = errors
    this.headers = headers
  }
}

/** Nobody reads this answer any more; as a 499, which is what proxies log, it does not look like a fault of ours. */
export class ClientGone extends HttpProblem {
  constructor() {
    super(499, 'client_gone', ['the client went away'])
  }
}

/** A refusal in OAuth's words: of the token endpoint, and wherever a token is missing or no good. */
export class OAuthProblem extends Error {
  readonly status: number
  readonly error: string
  readonly headers: Headers

  constructor(status: number, error: string, description: string, headers: Headers = {}) {
    super(description)
    this.name = 'OAuthProblem'
    this.status = status
    this.error = error
    this.headers = headers
  }
}

/** docs/guides/status-codes.md explains each line. */
const PROBLEMS: Readonly<Record<ErrorCode, readonly [status: number, name: AnswerName]>> = {
  invalid: [422, 'unprocessable_entity'],
  denied: [403, 'forbidden'],
  not_found: [404, 'missing_resource'],
  conflict: [409, 'resource_conflict'],
  too_large: [413, 'too_large'],
  corrupt: [500, 'stored_data_damaged'],
  unavailable: [503, 'unavailable'],
}

/** Names for what the HTTP framework refuses by itself. */
const FRAMEWORK_NAMES: Readonly<Record<string, AnswerName>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'malformed_json',
  FST_ERR_CTP_BODY_TOO_LARGE: 'too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_MAX_PARAM_LENGTH: 'uri_too_long',
  FST_ERR_BAD_URL: 'bad_request',
}

const FRAMEWORK_SENTENCES: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'the body is not valid JSON',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'send the body as JSON, with Content-Type: application/json',
  FST_ERR_MAX_PARAM_LENGTH: 'the path is too long',
  FST_ERR_BAD_URL: 'the path cannot be decoded',
}

/**
 * Turns whatever was thrown into an answer. What is not a refusal is a bug: it gets a 500 that says nothing of the
 * inside, and the log has the rest.
 */
export function problemOf(error: unknown): Problem {
  if (error instanceof HttpProblem) return error
  if (error instanceof LibraryError) {
    const [status, name] = PROBLEMS[error.code]
    const headers = error.code === 'unavailable' ? RETRY_LATER : {}
    return { status, name, errors: [error.message], hint: error.hint, headers }
  }
  return frameworkProblem(error) ?? INTERNAL
}

const RETRY_LATER: Headers = { 'retry-after': '5' }

const INTERNAL: Problem = {
  status: 500,
  name: 'internal_error',
  errors: ['something went wrong inside the library'],
  hint: 'the log of the library says what, under the request id',
  headers: {},
}

function frameworkProblem(error: unknown): Problem | undefined {
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number') return
  const { statusCode: status } = error
  if (status < 400 || status > 499) return
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const name = FRAMEWORK_NAMES[code] ?? answerNameOf(status)
  // Only the framework's own sentences are known to hold nothing of the inside.
  const sentence =
    FRAMEWORK_SENTENCES[code] ?? (code.startsWith('FST_') ? error.message : STATUS_CODES[status])
  return { status, name, errors: [sentence ?? name], headers: {} }
}
