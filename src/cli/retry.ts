import { ConnectionAttemptError } from './api.ts'
import { ApiError } from './failure.ts'

/** Dropped connections in a row that brought nothing, before a transfer gives up. */
export const MAX_VAIN_TRIES = 6

/** Whether the same request may succeed a little later: the library was not reached, or is too busy or starting. */
export const isPassing = (error: unknown): boolean =>
  error instanceof ConnectionAttemptError || (error instanceof ApiError && error.status === 503)
