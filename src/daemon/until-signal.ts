import { LibraryError } from '#base/errors.ts'

/** Ends a long command where the first signal comes. */
export function untilSignal(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => controller.abort(new LibraryError('unavailable', `ended by ${signal}`)))
  }
  return controller.signal
}
