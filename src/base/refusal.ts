import { LibraryError } from './errors.ts'
import type { FailureCode } from './failure-codes.ts'

/**
 * Why an image was refused: the codes that its bytes or their source can earn.
 * Texts carry numbers that we parsed, never strings from the file or from the server.
 */
export type RefusalCategory = Exclude<FailureCode, 'quota' | 'machine' | 'storage' | 'internal'>

/** The image is refused: trying the same bytes again would end the same way. */
export class Refusal extends LibraryError {
  readonly category: RefusalCategory

  constructor(category: RefusalCategory, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(category === 'too-large' ? 'too_large' : 'invalid', message, options)
    this.name = 'Refusal'
    this.category = category
  }
}

/**
 * The bytes could not be fetched. `retryable` tells a passing fault (a dropped connection, 503) from a
 * lasting one (404, an address that is not allowed).
 */
export class SourceFailure extends Refusal {
  readonly retryable: boolean
  /** How long the server asks to be left alone, milliseconds; undefined where it does not say. */
  readonly retryAfterMs: number | undefined

  constructor(
    message: string,
    options: { cause?: unknown; hint?: string; retryable: boolean; retryAfterMs?: number | undefined },
  ) {
    super('source', message, options)
    this.name = 'SourceFailure'
    this.retryable = options.retryable
    this.retryAfterMs = options.retryAfterMs
  }
}
