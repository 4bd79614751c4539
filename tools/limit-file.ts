/**
 * Loaded before each test file: ends it once it has had ten minutes, also where it is busy and hears nothing.
 * run({ timeout }) is a limit for each test only, and what a test left open keeps its file alive.
 */
import { isMainThread, Worker } from 'node:worker_threads'

const LIMIT_MS = 10 * 60_000

if (isMainThread) {
  const message = `${process.argv[1]} took more than ${LIMIT_MS / 1000} s\n`
  const code = `setTimeout(() => {
    require('node:fs').writeSync(2, ${JSON.stringify(message)})
    process.kill(process.pid, 'SIGKILL')
  }, ${LIMIT_MS})`
  new Worker(code, { eval: true, execArgv: [] }).unref()
}
