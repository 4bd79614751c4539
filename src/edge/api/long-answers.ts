import { KiB, MiB } from '#base/bytes.ts'
import { Shares } from '#base/shares.ts'
import type { App } from '#edge/http/app.ts'
import { sessionOf } from './access.ts'

/** Bytes of long answers in memory at once. */
const TOTAL = 256 * MiB
/** Shorter ones are bounded by how many connections there may be. */
const LONG = 64 * KiB

/**
 * Bounds what of lists is held in memory at the pace of those who read them: a list without a limit is as long as there
 * are things.
 * @param total for tests, bytes
 */
export function holdLongAnswers(scope: App, total = TOTAL): void {
  const lists = new Shares({ total, busy: 'too many long lists are under way' })
  scope.addHook('onSend', async (request, reply, payload) => {
    if (typeof payload !== 'string' || payload.length < LONG) return payload
    const share = lists.enter(sessionOf(request).accountId)
    share.add(Buffer.byteLength(payload))
    reply.raw.once('close', () => share[Symbol.dispose]())
    return payload
  })
}
