import { LibraryError } from '#base/errors.ts'
import { FAILURES } from '#base/failure-codes.ts'
import { MachineFault } from '#base/machine-fault.ts'
import { NoRoom } from '#base/no-room.ts'
import { Refusal } from '#base/refusal.ts'
import type { Failure } from '#model/image.ts'

/** The account's quota would be exceeded by the image. */
export class QuotaExceeded extends LibraryError {
  constructor(quota: number) {
    super('denied', `The account's images would hold more data than its quota of ${quota} bytes.`, {
      hint: FAILURES.quota.next,
    })
    this.name = 'QuotaExceeded'
  }
}

export interface FailureOptions {
  /** Whether it was that of a server's disk. */
  readonly isSnapshot?: boolean
  /** How often it was tried, where that was the end. */
  readonly tries?: number
}

/** What the owner is told of why a registration failed. */
export function toFailure(error: unknown, { isSnapshot = false, tries = 1 }: FailureOptions = {}): Failure {
  const failure = explain(error, isSnapshot)
  return tries > 1 ? { ...failure, message: `${failure.message} It was tried ${tries} times.` } : failure
}

function explain(error: unknown, isSnapshot: boolean): Failure {
  if (error instanceof Refusal) {
    const { category: code, message } = error
    return { code, message, hint: error.hint ?? (isSnapshot ? 'Tell the operator.' : FAILURES[code].next) }
  }
  if (error instanceof QuotaExceeded)
    return { code: 'quota', message: error.message, hint: FAILURES.quota.next }
  if (error instanceof MachineFault) {
    const message =
      'The image could not be read: the machine of the library had too little memory, processes or files left, ' +
      'or a process that decoded the image was ended.'
    return { code: 'machine', message, hint: FAILURES.machine.next }
  }
  if (error instanceof LibraryError && (error.code === 'unavailable' || error.code === 'corrupt')) {
    const message =
      error instanceof NoRoom
        ? `The image cannot be kept: ${error.message}.`
        : 'The image could not be kept: the storage is full or reports an error.'
    return { code: 'storage', message, hint: FAILURES.storage.next }
  }
  const message = `The ${isSnapshot ? 'snapshot' : 'registration'} failed for a reason inside the library.`
  return { code: 'internal', message, hint: FAILURES.internal.next }
}
