import { LibraryError } from '#base/errors.ts'

/** The system's word for a failed call (`ENOENT`), or undefined for any other error. */
export function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}

/** Whether there was no room for what was written, as the system says or somebody who translated that. */
export function isFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ['ENOSPC', 'EDQUOT'].includes(systemCode(error) ?? '') || isFull(error.cause)
}

/**
 * Translates what the file system says, once, where it enters.
 * @param attempt what was attempted on what: "put block 1234…"
 */
export function storageError(attempt: string, cause: unknown): unknown {
  const code = systemCode(cause)
  if (cause instanceof LibraryError || code === undefined) return cause
  if (isFull(cause)) {
    const hint = 'Free space on the file system of the data folder, or raise its quota; then try again.'
    return new LibraryError('unavailable', `${attempt}: no space left in the store`, { cause, hint })
  }
  const hint = 'Look at the disk and the rights of the data folder; the log has the details.'
  return new LibraryError('unavailable', `${attempt}: the storage answers ${code}`, { cause, hint })
}

/** Runs `call`, turning the file system's errors into `unavailable`. */
export async function attempting<T>(attempt: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw storageError(attempt, error)
  }
}

/** The call's result, or undefined where the file does not exist. */
export async function unlessMissing<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** What the system answers where one file cannot be read: a bad sector, a folder or a loop in its place, no right. */
const FILE_FAULTS: readonly unknown[] = ['EIO', 'EISDIR', 'ELOOP', 'EACCES']

/** Of these, what no disk says that is only away for a moment. */
const WRONG_FILES: readonly unknown[] = ['EISDIR', 'ELOOP']

/** Wrong bytes, or bytes that cannot be read back; an unavailable store as such says nothing of a file. */
export function isDamage(error: unknown): error is LibraryError {
  return (
    error instanceof LibraryError &&
    (error.code === 'corrupt' || FILE_FAULTS.includes(systemCode(error.cause)))
  )
}

/** Whether wrong bytes were read, or no file is there; what could not be read at all may be readable tomorrow. */
export function isWrong(damage: LibraryError): boolean {
  return damage.code === 'corrupt' || WRONG_FILES.includes(systemCode(damage.cause))
}

/** Reads once more what seems to be damaged: a bad moment of a disk or a cable is no damage. */
export async function readTwice<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (!isDamage(error)) throw error
    return await read()
  }
}
