import { setImmediate } from 'node:timers/promises'
import type { Tables } from '#control/catalog/catalog.ts'
import { type OrbitDeps, secondsOf } from './deps.ts'

/** Objects removed in one transaction. */
const BATCH = 500

export type ExpiryScope = { readonly containerId: number } | { readonly accountId: string }

/** Says whose counts or names are to be told. */
export type Settle = (scope: ExpiryScope) => Promise<void>

export interface Expiry {
  /** Reads one moment; of what `read` settles, before it reads on, nothing that has expired is left. */
  snapshot<T>(read: (tables: Tables, settle: Settle) => Promise<T>): Promise<T>
  /** @returns how many it removed */
  removeDue(scope?: ExpiryScope, signal?: AbortSignal): Promise<number>
}

/** Something has expired, and is to be removed before a moment can be told. */
class Unsettled extends Error {
  readonly scope: ExpiryScope

  constructor(scope: ExpiryScope) {
    super('internal error: a snapshot of what has expired')
    this.scope = scope
  }
}

/** Objects whose time has come, removed before anybody can see or count them. */
export function createExpiry({ catalog, now }: Pick<OrbitDeps, 'catalog' | 'now'>): Expiry {
  async function removeDue(scope?: ExpiryScope, signal?: AbortSignal): Promise<number> {
    for (let total = 0; ; ) {
      signal?.throwIfAborted()
      const removed = await catalog.transaction(async ({ objects }) => {
        const due = await objects.listDue(secondsOf(now()), BATCH, scope)
        for (const [first, ...rest] of Map.groupBy(due, ({ container }) => container.id).values()) {
          if (first)
            await objects.removeAll(
              first.container,
              [first, ...rest].map(({ object }) => object),
            )
        }
        return due.length
      })
      total += removed
      if (removed < BATCH) return total
      await setImmediate()
    }
  }

  return {
    removeDue,
    async snapshot(read) {
      for (;;) {
        try {
          return await catalog.snapshot((tables) =>
            read(tables, async (scope) => {
              const at = secondsOf(now())
              // Mostly nothing is due anywhere, and that is one look at an index.
              const suspect = 'containerId' in scope || (await tables.objects.isDue(at))
              if (suspect && (await tables.objects.isDue(at, scope))) throw new Unsettled(scope)
            }),
          )
        } catch (error) {
          if (!(error instanceof Unsettled)) throw error
          await removeDue(error.scope)
        }
      }
    },
  }
}
