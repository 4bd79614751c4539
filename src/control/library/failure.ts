import { LibraryError } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'
import type { Failure } from '#model/image.ts'

/** The account's quota would be exceeded by the image. */
export class QuotaExceeded extends LibraryError {
  constructor(quota: number) {
    super('denied', `The account's images would hold more data than its quota of ${quota} bytes.`, {
      hint: 'Destroy images that are no longer needed, or ask the operator for a larger quota.',
    })
    this.name = 'QuotaExceeded'
  }
}

/**
 * What the owner is told of why a registration failed.
 * @param isSnapshot whether it was that of a server's disk
 */
export function toFailure(error: unknown, isSnapshot = false): Failure {
  const again = isSnapshot ? 'snapshot the server again' : 'register the image again'
  if (error instanceof Refusal) {
    const { category: code, message } = error
    const hint = isSnapshot ? 'Tell the operator.' : 'Correct the image or its URL, then register it again.'
    return { code, message, hint: error.hint ?? hint }
  }
  if (error instanceof QuotaExceeded) return { code: 'quota', message: error.message, hint: error.hint ?? '' }
  if (error instanceof LibraryError && (error.code === 'unavailable' || error.code === 'corrupt')) {
    return {
      code: 'storage',
      message: 'The image could not be kept: the storage is full or reports an error.',
      hint: `Tell the operator, whose log says more; once there is space, ${again}.`,
    }
  }
  return {
    code: 'internal',
    message: `The ${isSnapshot ? 'snapshot' : 'registration'} failed for a reason inside the library.`,
    hint: 'Tell the operator, whose log says more.',
  }
}
