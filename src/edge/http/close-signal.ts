import type { IncomingMessage, ServerResponse } from 'node:http'
import { ClientGone } from './problems.ts'

/** Aborted when the client goes away before its answer was complete. */
export function closeSignal(raw: ServerResponse): AbortSignal {
  const controller = new AbortController()
  const abort = () => {
    if (!raw.writableFinished) controller.abort(new ClientGone())
  }
  if (raw.destroyed) abort()
  else raw.once('close', abort)
  return controller.signal
}

/** Aborted when the connection breaks before the request's body was read to its end. */
export function requestSignal(raw: IncomingMessage): AbortSignal {
  const controller = new AbortController()
  const abort = () => {
    if (!raw.complete) controller.abort(new ClientGone())
  }
  if (raw.destroyed) abort()
  else raw.once('close', abort)
  return controller.signal
}
