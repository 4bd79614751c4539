import type { Catalog } from '#control/catalog/catalog.ts'
import type { Standee, Stay, Stays } from './auth.ts'
import { standingOf } from './standing.ts'

/** How soon a change ends what is open; other processes change the catalog as well, so it is looked at. */
const LOOK_MS = 2000

export interface StaysOptions {
  readonly catalog: Pick<Catalog, 'accounts' | 'apiClients' | 'users'>
  readonly lookMs?: number
}

interface OpenStay {
  readonly who: Standee
  readonly isGood: () => Promise<boolean>
  readonly ended: AbortController
}

/** Watches over everybody who stays, as long as anybody does. */
export function createStays({ catalog, lookMs = LOOK_MS }: StaysOptions): Stays {
  const open = new Set<OpenStay>()
  let timer: NodeJS.Timeout | undefined

  async function look(): Promise<void> {
    const standings = new Map<string, Promise<string | undefined>>()
    const ask = (who: Standee) => {
      const key = `${who.accountId} ${who.clientId} ${who.userId}`
      const asked = standings.get(key) ?? standingOf(catalog, who)
      standings.set(key, asked)
      return asked
    }
    const mayStay = async ({ who, isGood }: OpenStay) => {
      const standing = await ask(who)
      return standing !== undefined && standing === who.standing && (await isGood())
    }
    for (const stay of open) {
      // A catalog that cannot be read says nothing about anybody; nothing else works then either.
      if (await mayStay(stay).catch(() => true)) continue
      open.delete(stay)
      stay.ended.abort()
    }
  }

  function again(): void {
    if (open.size === 0 || timer) return
    const next = () => {
      timer = undefined
      again()
    }
    timer = setTimeout(() => void look().then(next), lookMs).unref()
  }

  return {
    enter(who, isGood = async () => true): Stay {
      const stay = { who, isGood, ended: new AbortController() }
      open.add(stay)
      again()
      return { signal: stay.ended.signal, [Symbol.dispose]: () => void open.delete(stay) }
    },
  }
}
