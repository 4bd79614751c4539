import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Topic } from './changes.ts'
import { atMost, clientConfig, type PostgresLimits } from './postgres-pool.ts'

export const CHANNEL = 'image_library'
const TOPICS: readonly Topic[] = ['events', 'jobs']
/** A connection that says nothing may be none any more. */
const PROBE_MS = 30_000
const RETRY_MS = 1000

/**
 * Tells of what other processes change, on a connection of its own, which is made again where it is lost. What happened
 * in between is told as everything: whoever waits looks.
 */
export function listenPostgres(
  url: string,
  limits: PostgresLimits,
  told: (topic: Topic) => void,
): AsyncDisposable {
  const stop = new AbortController()
  const done = (async () => {
    while (!stop.signal.aborted) {
      await listenOnce(url, limits, told, stop.signal).catch(() => {})
      // Not all at once, where a server comes back.
      await delay(RETRY_MS * (0.5 + Math.random()), undefined, { signal: stop.signal, ref: false }).catch(
        () => {},
      )
    }
  })()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await done
    },
  }
}

/** Listens until the connection is lost, or `signal` says so. */
async function listenOnce(
  url: string,
  limits: PostgresLimits,
  told: (topic: Topic) => void,
  signal: AbortSignal,
): Promise<void> {
  const client = new pg.Client(clientConfig(url, limits))
  const over = new AbortController()
  const end = AbortSignal.any([signal, over.signal])
  client.on('error', () => over.abort())
  client.on('end', () => over.abort())
  client.on('notification', ({ payload }) => {
    const topic = TOPICS.find((name) => name === payload)
    if (topic) told(topic)
  })
  try {
    await client.connect()
    await client.query(`listen ${CHANNEL}`)
    for (const topic of TOPICS) told(topic)
    while (!end.aborted) {
      await delay(PROBE_MS, undefined, { signal: end, ref: false }).catch(() => {})
      if (!end.aborted) await client.query('select 1')
    }
  } finally {
    // A server that stands still would not answer the goodbye.
    await atMost(limits.connectMs, client.end())
  }
}
