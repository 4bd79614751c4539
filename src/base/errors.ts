/**
 * What went wrong, by what the caller can do about it:
 * invalid (mend the request), denied (ask for rights), not_found, conflict (the state forbids it now),
 * too_large (a limit), corrupt (stored bytes are damaged), unavailable (try again later).
 */
export type ErrorCode =
  | 'invalid'
  | 'denied'
  | 'not_found'
  | 'conflict'
  | 'too_large'
  | 'corrupt'
  | 'unavailable'

export interface ErrorOptions {
  readonly cause?: unknown
  /** What a person can do next, one sentence. */
  readonly hint?: string
}

/**
 * An error that a caller can act on; anything else that is thrown is a bug.
 * The message says what was attempted on what, lower case, without a full stop.
 */
export class LibraryError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : {})
    this.name = 'LibraryError'
    this.code = code
    this.hint = options.hint
  }
}

/** Throws where only a bug could have led. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`internal error: ${message}`)
}
