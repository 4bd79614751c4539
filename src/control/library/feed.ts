import { setTimeout as delay } from 'node:timers/promises'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { Event } from '#model/event.ts'

const PAGE = 100
/** How soon events of other processes are seen where nobody tells of them. */
const POLL_MS = 1000

export interface FeedQuery {
  readonly accountId: string
  readonly resourceId: string | undefined
  readonly after: number
  readonly signal: AbortSignal
}

/**
 * Events as they happen. The catalog is the truth and is read from where a watcher stands; a call of `wake` only says
 * that it is worth looking, so nothing is lost and nothing comes twice.
 */
export class Feed {
  readonly #catalog: Pick<Catalog, 'events' | 'onChange'>
  #next = Promise.withResolvers<void>()
  #isSubscribed = false

  constructor({ catalog }: { catalog: Pick<Catalog, 'events' | 'onChange'> }) {
    this.#catalog = catalog
  }

  /** Says that it is worth looking; the catalog tells of events of all processes. */
  wake(): void {
    const woken = this.#next
    this.#next = Promise.withResolvers()
    woken.resolve()
  }

  async *watch({ accountId, resourceId, after, signal }: FeedQuery): AsyncGenerator<Event> {
    // Until the catalog is closed; not before anybody watches, as it may take a connection.
    if (!this.#isSubscribed) this.#catalog.onChange('events', () => this.wake())
    this.#isSubscribed = true
    let last = after
    while (!signal.aborted) {
      // Taken before the catalog is read: what comes in between then resolves it, and is not missed.
      const woken = this.#next.promise
      const events = await this.#catalog.events.list({ accountId, resourceId, after: last, limit: PAGE })
      for (const event of events) {
        if (signal.aborted) return
        yield event
        last = event.sequence
      }
      if (events.length === 0) await wait(woken, signal)
    }
  }
}

async function wait(woken: Promise<void>, signal: AbortSignal): Promise<void> {
  const over = new AbortController()
  const end = AbortSignal.any([signal, over.signal])
  await Promise.race([woken, delay(POLL_MS, undefined, { signal: end, ref: false }).catch(() => {})])
  over.abort()
}
