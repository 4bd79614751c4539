/** The thread of the background check: reads stored files at the pace it is told, and reports. */
import { setTimeout } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '#base/errors.ts'
import { toPlainError } from '#base/thread-errors.ts'
import { StoreClock } from '#data/store/measured.ts'
import { openStore, type StorePlace } from '#data/store/open-store.ts'
import { bytesAfter, type CheckPlace, checkRound, isSound } from './check-round.ts'
import type { CheckTask, CheckThreadMessage, CheckThreadNews } from './checker.ts'

/** The slowest that it reads: what there is little of is not stretched over days. Bytes per second. */
const LEAST_RATE = 64 * 1024
/** How often it says where it is. */
const PLACE_MS = 1000

const port = parentPort
assert(port, 'the check runs in a worker thread')
const { storePlace } = workerData as { storePlace: StorePlace }
const clock = new StoreClock()
const store = await openStore(storePlace, { onTime: clock.record })
/** It is ended with the thread. */
const { signal } = new AbortController()
const send = (news: CheckThreadNews) => {
  const message: CheckThreadMessage = { ...news, times: clock.take() }
  port.postMessage(message)
}

async function runRound({ after, until, fastest }: Extract<CheckTask, { kind: 'round' }>): Promise<void> {
  const bytes = await bytesAfter(store, after)
  const wanted = bytes / Math.max(1, (until - Date.now()) / 1000)
  const rate = Math.min(fastest, Math.max(LEAST_RATE, wanted))
  send({ kind: 'begun', bytes, rate, late: wanted > fastest })
  const startedAt = performance.now()
  let read = 0
  let toldAt = 0
  let place = after
  const counts = { manifest: 0, block: 0 }
  const tell = () => {
    toldAt = performance.now()
    send({ kind: 'place', place, bytes: read, manifests: counts.manifest, blocks: counts.block })
  }
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
    onPlace(now: CheckPlace) {
      place = now
      counts[now.kind]++
      if (performance.now() - toldAt >= PLACE_MS) tell()
    },
  })
  tell()
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
