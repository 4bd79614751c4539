/** A thread of a registration, or a worker of one, that goes wrong in the way that the path of its source names. */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import type { BlockWorkerData } from './block-task.ts'
import type { IngestThreadData, IngestThreadMessage } from './ingest-runner.ts'

export type Wrong = (typeof WRONGS)[number]
export const WRONGS = [
  'throws',
  'rejects',
  'exits',
  'exits with 1',
  'hoards',
  'loops',
  'loops and tells',
  'waits in the middle of a put',
] as const

const ways: Record<Wrong, () => unknown> = {
  throws: () =>
    setImmediate(() => {
      throw new Error('a fault of a decoder')
    }),
  rejects: () => void Promise.reject(new Error('a fault of a decoder')),
  exits: () => process.exit(0),
  'exits with 1': () => process.exit(1),
  hoards() {
    const hoard: unknown[] = []
    for (;;) hoard.push(Array.from({ length: 1000 }, () => ({})))
  },
  loops() {
    for (;;);
  },
  // It says four times a second that it is where it was.
  'loops and tells'() {
    const now = { received: 7, total: undefined, rate: 0, decoded: 0, virtualSize: undefined, dataSize: 0 }
    const tell = () => send({ kind: 'progress', progress: { phase: 'receiving', ...now } })
    const turn = () => {
      for (const until = performance.now() + 20; performance.now() < until; );
      tell()
      setImmediate(turn)
    }
    turn()
  },
  async 'waits in the middle of a put'() {
    const { storePlace, writer } = workerData as IngestThreadData
    await using handle = await open(join(String(storePlace), 'temporary', `${writer}half`), 'w')
    await handle.write('half of a block')
    send({ kind: 'announced', bytes: undefined })
    await new Promise(() => {})
  },
}

const send = (message: IngestThreadMessage) => parentPort?.postMessage(message)

if (parentPort) {
  // So that it does not end by having nothing to do.
  parentPort.on('message', () => {})
  const { request } = workerData as Partial<IngestThreadData>
  const { storePlace } = workerData as BlockWorkerData
  const name = request?.source.kind === 'http' ? request.source.url : storePlace
  if (name === 'tells all') {
    const { env, argv, execArgv } = process
    parentPort.postMessage({
      kind: 'error',
      error: { type: 'bug', message: JSON.stringify({ env, argv, execArgv, workerData }) },
    })
  } else ways[name as Wrong]()
}
