/** The thread of one registration: runs the inward path and reports. */
import { parentPort, workerData } from 'node:worker_threads'
import { assert, LibraryError } from '#base/errors.ts'
import { toPlainError } from '#base/thread-errors.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { createReserve } from '#data/store/reserve.ts'
import { ingest } from './ingest.ts'
import type { IngestThreadData, IngestThreadMessage } from './ingest-runner.ts'

const port = parentPort
assert(port, 'the ingest thread runs in a worker thread')
const { request, storeDirectory, spoolDirectory, reserve, threads } = workerData as IngestThreadData
const stopping = new AbortController()
port.on('message', () => stopping.abort(new LibraryError('conflict', 'the registration was stopped')))

const send = (message: IngestThreadMessage) => port.postMessage(message)

try {
  await using store = await openFilesystemStore(storeDirectory, {
    reserve: createReserve({ directory: storeDirectory, bytes: reserve }),
  })
  const result = await ingest(request, {
    store,
    storeDirectory,
    spoolDirectory,
    reserve,
    threads,
    signal: stopping.signal,
    onProgress: (progress) => send({ kind: 'progress', progress }),
  })
  send({ kind: 'result', result })
} catch (error) {
  send({ kind: 'error', error: toPlainError(error) })
}
