/**
 * Waits for a promise, but no longer than `timeoutMs` and only until the signal is aborted. What is waited for is not
 * stopped; its outcome is dropped.
 * @throws what `timedOut` returns, the signal's reason, or what the promise rejects with
 */
export async function waitWithin<T>(
  promise: Promise<T>,
  timeoutMs: number,
  signal: AbortSignal,
  timedOut: () => Error,
): Promise<T> {
  const { promise: stopped, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  const timer = setTimeout(() => reject(timedOut()), timeoutMs)
  signal.addEventListener('abort', onAbort)
  try {
    signal.throwIfAborted()
    return await Promise.race([promise, stopped])
  } finally {
    // The one that lost the race must not become an unhandled rejection.
    promise.catch(() => {})
    stopped.catch(() => {})
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}
