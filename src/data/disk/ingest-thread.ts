/** The thread of one registration: runs the inward path and reports. */
import { parentPort, workerData } from 'node:worker_threads'
import { assert, LibraryError } from '#base/errors.ts'
import { orAbort } from '#base/or-abort.ts'
import { toPlainError } from '#base/thread-errors.ts'
import { StoreClock } from '#data/store/measured.ts'
import { openStore } from '#data/store/open-store.ts'
import { ingest } from './ingest.ts'
import type {
  IngestThreadData,
  IngestThreadMessage,
  IngestThreadNews,
  ToIngestThread,
} from './ingest-runner.ts'

const port = parentPort
assert(port, 'the ingest thread runs in a worker thread')
const { request, storePlace, writer, spoolDirectory, reserve, threads, decoders } =
  workerData as IngestThreadData
const stopping = new AbortController()
const admitted = Promise.withResolvers<void>()
port.on('message', (message: ToIngestThread) => {
  if (message === 'admit') return admitted.resolve()
  stopping.abort(new LibraryError('conflict', 'the registration was stopped'))
})

const clock = new StoreClock()
const send = (news: IngestThreadNews) => {
  const message: IngestThreadMessage = { ...news, times: clock.take() }
  port.postMessage(message)
}

try {
  await using store = await openStore(storePlace, {
    ...{ writer, reserve: { bytes: reserve } },
    onTime: clock.record,
  })
  const result = await ingest(request, {
    store,
    storePlace,
    writer,
    spoolDirectory,
    reserve,
    threads,
    decoders,
    signal: stopping.signal,
    admit(bytes) {
      send({ kind: 'announced', bytes })
      return orAbort(admitted.promise, stopping.signal)
    },
    onProgress: (progress) => send({ kind: 'progress', progress }),
    onStoreTimes: clock.recordAll,
  })
  send({ kind: 'result', result })
} catch (error) {
  send({ kind: 'error', error: toPlainError(error) })
}
