/**
 * The program of a decoder process: whatever native code decodes of strangers' bytes, it decodes here. This thread
 * gives up all rights and then only watches for the end of who started it, which it learns whatever the decoding
 * thread does. JavaScript, since each thread for which Node loads what takes types away needs a quarter of the time
 * that the process takes to start.
 */
import { Worker } from 'node:worker_threads'

/** As process-facts.ts says. */
const READY = 'ready\n'
const OUT_OF_MEMORY = 3
/** MiB of heap: what is decoded lies outside of it. */
const OLD_MIB = 64
const YOUNG_MIB = 6

const die = () => process.kill(process.pid, 'SIGKILL')

/** @param {number} id of a user and a group */
function becomeUser(id) {
  process.setgroups?.([])
  process.setgid?.(id)
  process.setuid?.(id)
  if (process.getuid?.() !== id || process.getgid?.() !== id) throw new Error('the rights are not gone')
}

process.stdin.on('close', die).resume()
const thread = new Worker(new URL('./decoder-thread.ts', import.meta.url), {
  env: {},
  // Else Node opened the connection as a stream of its own, to print there, and calls on it would not wait any more.
  ...{ stdout: true, stderr: true },
  resourceLimits: { maxOldGenerationSizeMb: OLD_MIB, maxYoungGenerationSizeMb: YOUNG_MIB },
})
thread.on('error', (error) => {
  process.stderr.write(error.message)
  process.exit(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? OUT_OF_MEMORY : 1)
})
thread.on('exit', die)
// It has read its program, which others may have no right to read.
thread.once('message', () => {
  const [user] = process.argv.slice(2)
  if (user !== undefined) becomeUser(Number(user))
  process.stderr.write(READY)
  thread.postMessage('begin')
})
