import { type ErrorCode, LibraryError } from './errors.ts'
import { MachineFault } from './machine-fault.ts'
import { Refusal, type RefusalCategory, SourceFailure } from './refusal.ts'

/** An error as it crosses from one thread to another: structured cloning would lose its class and fields. */
export interface PlainError {
  readonly type: 'refusal' | 'source' | 'machine' | 'library' | 'bug'
  readonly message: string
  readonly hint?: string | undefined
  readonly code?: ErrorCode
  readonly category?: RefusalCategory
  readonly retryable?: boolean
  readonly retryAfterMs?: number | undefined
  readonly stack?: string | undefined
}

export function toPlainError(error: unknown): PlainError {
  if (error instanceof SourceFailure) {
    const { message, hint, retryable, retryAfterMs } = error
    return { type: 'source', message, hint, retryable, retryAfterMs }
  }
  if (error instanceof Refusal) {
    return { type: 'refusal', message: error.message, hint: error.hint, category: error.category }
  }
  if (error instanceof MachineFault) {
    return { type: 'machine', message: error.message, hint: error.hint, stack: error.stack }
  }
  if (error instanceof LibraryError) {
    return { type: 'library', message: error.message, hint: error.hint, code: error.code, stack: error.stack }
  }
  const bug = error instanceof Error ? error : new Error(String(error))
  return { type: 'bug', message: bug.message, stack: bug.stack }
}

export function fromPlainError(plain: PlainError): Error {
  const hint = plain.hint === undefined ? {} : { hint: plain.hint }
  switch (plain.type) {
    case 'source':
      return new SourceFailure(plain.message, {
        ...hint,
        retryable: plain.retryable ?? false,
        ...(plain.retryAfterMs === undefined ? {} : { retryAfterMs: plain.retryAfterMs }),
      })
    case 'refusal':
      return new Refusal(plain.category ?? 'bad-stream', plain.message, hint)
    case 'machine':
      return new MachineFault(plain.message, hint)
    case 'library':
      return new LibraryError(plain.code ?? 'unavailable', plain.message, hint)
    default: {
      const bug = new Error(plain.message)
      if (plain.stack) bug.stack = plain.stack
      return bug
    }
  }
}
