/** The thread of the background check: reads stored files at the pace it is told, and reports. */
import { setTimeout } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '#base/errors.ts'
import { toPlainError } from '#base/thread-errors.ts'
import { openStore, type StorePlace } from '#data/store/open-store.ts'
import { bytesAfter, checkRound, isSound } from './check-round.ts'
import type { CheckTask, CheckThreadMessage } from './checker.ts'

/** The slowest that it reads: what there is little of is not stretched over days. Bytes per second. */
const LEAST_RATE = 64 * 1024
/** How often it says where it is. */
const PLACE_MS = 1000

const port = parentPort
assert(port, 'the check runs in a worker thread')
const { storePlace } = workerData as { storePlace: StorePlace }
const store = await openStore(storePlace)
/** It is ended with the thread. */
const { signal } = new AbortController()
const send = (message: CheckThreadMessage) => port.postMessage(message)

async function runRound({ after, until, fastest }: Extract<CheckTask, { kind: 'round' }>): Promise<void> {
  const bytes = await bytesAfter(store, after)
  const wanted = bytes / Math.max(1, (until - Date.now()) / 1000)
  const rate = Math.min(fastest, Math.max(LEAST_RATE, wanted))
  send({ kind: 'begun', bytes, rate, late: wanted > fastest })
  const startedAt = performance.now()
  let read = 0
  let toldAt = 0
  await checkRound({
    store,
    after,
    signal,
    async pace(bytes) {
      const waitMs = startedAt + (read / rate) * 1000 - performance.now()
      read += bytes
      if (waitMs > 1) await setTimeout(waitMs)
    },
    onDamaged: (file) => send({ kind: 'damaged', file }),
    onPlace(place) {
      if (performance.now() - toldAt < PLACE_MS) return
      toldAt = performance.now()
      send({ kind: 'place', place, bytes: read })
    },
  })
}

async function run(task: CheckTask): Promise<void> {
  try {
    if (task.kind === 'round') await runRound(task)
    else for (const file of task.files) if (await isSound(store, file, signal)) send({ kind: 'sound', file })
    send({ kind: 'end' })
  } catch (error) {
    send({ kind: 'error', error: toPlainError(error) })
  }
}

port.once('message', (task: CheckTask) => void run(task))
