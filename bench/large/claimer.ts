/** One of many that take jobs from one queue; a process of its own, which bench/large/claims.ts tells what to do. */
import { setTimeout as delay } from 'node:timers/promises'
import { openCatalog } from '#control/catalog/catalog.ts'

export interface ClaimOrder {
  readonly kind: string
  readonly claims: number
  /** At most, between one job and the next. */
  readonly pauseMs: number
}

export type ClaimAnswer = 'ready' | { readonly ms: readonly number[] }

const [url = '', owner = ''] = process.argv.slice(2)
const catalog = await openCatalog({ url, connections: 3 })
const tell = (answer: ClaimAnswer) => process.send?.(answer)

async function work({ kind, claims, pauseMs }: ClaimOrder): Promise<number[]> {
  const ms: number[] = []
  for (let count = 0; count < claims; count++) {
    if (pauseMs > 0) await delay(Math.random() * pauseMs)
    const claim = { kind, owner, now: Date.now(), generation: 1, leaseMs: 30_000, perAccount: 2 }
    const began = performance.now()
    const job = await catalog.beside((tables) => tables.jobs.claim(claim))
    ms.push(performance.now() - began)
    if (!job) throw new Error('the queue is empty')
    await catalog.transaction((tables) => tables.jobs.finish(owner, job))
  }
  return ms
}

process.on('message', async (order: ClaimOrder) => {
  tell({ ms: await work(order) })
})
process.once('disconnect', () => process.exit())
await catalog.beside((tables) =>
  tables.jobs.claim({ kind: 'none', owner, now: 0, generation: 1, leaseMs: 1, perAccount: 1 }),
)
tell('ready')
