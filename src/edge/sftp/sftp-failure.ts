import { LibraryError } from '#base/errors.ts'
import { OrbitRefusal } from '#control/orbit/orbit.ts'
import { STATUS, type StatusCode } from './wire.ts'

/** A request that cannot be answered as asked, in the protocol's own words. */
export class SftpFailure extends Error {
  readonly code: StatusCode

  constructor(code: StatusCode, message: string) {
    super(message)
    this.name = 'SftpFailure'
    this.code = code
  }
}

export const noSuchFile = (): SftpFailure => new SftpFailure(STATUS.noSuchFile, 'No such file or directory')

export const failure = (message: string): SftpFailure => new SftpFailure(STATUS.failure, message)

export const unsupported = (): SftpFailure => new SftpFailure(STATUS.opUnsupported, 'Operation unsupported')

/** What a client is told of an error; undefined for a bug, of which it is told nothing. */
export function failureOf(error: unknown): SftpFailure | undefined {
  if (error instanceof SftpFailure) return error
  if (error instanceof OrbitRefusal) {
    if (error.kind === 'not_found') return noSuchFile()
    if (error.kind === 'denied') return new SftpFailure(STATUS.permissionDenied, 'Permission denied')
    return failure(error.kind === 'quota' ? 'quota exceeded' : error.message)
  }
  if (error instanceof LibraryError) {
    if (error.code === 'not_found') return noSuchFile()
    return failure(error.message)
  }
  return undefined
}
