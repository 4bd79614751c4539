import { setTimeout as sleep } from 'node:timers/promises'
import { ANSWERS, answerNameOf } from '#base/answer-names.ts'
import { ConnectionAttemptError } from './api.ts'
import { ApiError } from './failure.ts'
import type { Session } from './session.ts'

/** Dropped connections in a row that brought nothing, before a transfer gives up. */
export const MAX_VAIN_TRIES = 6

/** Whether the same request may succeed a little later: the library was not reached, or is too busy or starting. */
export const isPassing = (error: unknown): boolean =>
  error instanceof ConnectionAttemptError ||
  (error instanceof ApiError && ANSWERS[answerNameOf(error.status)].passes)

/** Does something whole again while it fails for a reason that may pass. */
export async function persist<T>(
  { retryMs, signal }: Pick<Session, 'retryMs' | 'signal'>,
  action: () => Promise<T>,
): Promise<T> {
  for (let vain = 0; ; vain++) {
    try {
      return await action()
    } catch (error) {
      if (!isPassing(error) || vain >= MAX_VAIN_TRIES) throw error
      await sleep(retryMs * 2 ** vain, undefined, { signal })
    }
  }
}
