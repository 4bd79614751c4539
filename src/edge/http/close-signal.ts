import type { ServerResponse } from 'node:http'

/** Aborted when the client goes away before its answer was complete. */
export function closeSignal(raw: ServerResponse): AbortSignal {
  const controller = new AbortController()
  const abort = () => {
    if (!raw.writableFinished) controller.abort(new Error('the client went away'))
  }
  if (raw.destroyed) abort()
  else raw.once('close', abort)
  return controller.signal
}
