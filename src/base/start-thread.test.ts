import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { startThread } from './start-thread.ts'

const failing = (error: Error) => ({
  workerData: undefined,
  create: () => {
    throw error
  },
})
const PROGRAM = new URL('data:text/javascript,')

test('a thread that the system has no room for is "unavailable": there may be some later', () => {
  const cause = Object.assign(new Error('EAGAIN'), { code: 'ERR_WORKER_INIT_FAILED' })
  assert.throws(() => startThread(PROGRAM, failing(cause)), { code: 'unavailable', cause })
})

test('whatever else is wrong with starting a thread is a bug', () => {
  const bug = new TypeError('no such option')
  assert.throws(() => startThread(PROGRAM, failing(bug)), bug)
})

test('a thread knows what it was given, and nothing of the environment', async () => {
  const tell = `
    import { parentPort, workerData } from 'node:worker_threads'
    const { NODE_COMPILE_CACHE: _, ...env } = process.env
    parentPort.postMessage([workerData, env])`
  const program = new URL(`data:text/javascript,${encodeURIComponent(tell)}`)
  const worker = startThread(program, { workerData: 7 })
  const [told] = await once(worker, 'message')
  assert.deepEqual(told, [7, {}])
  await worker.terminate()
})
