import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { GiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { MachineFault } from '#base/machine-fault.ts'
import { Refusal } from '#base/refusal.ts'
import { CONNECTION, OUT_OF_MEMORY, READY } from './process-facts.ts'
import { unprivilegedId } from './unprivileged.ts'

/** Memory that can be written: Node reserves 600 MiB in any case; the largest window that can be set has 1 GiB. */
const DATA = 2 * GiB
const FILES = 64
/** Threads and processes; Node has a dozen. Counted by user, so only where each process has one of its own. */
const PROCESSES = 64
/** MiB of heap for the thread that only watches. */
const HEAP_MIB = 64
/** Bytes that are kept of what a process says where it fails. */
const SAID = 1000
/** Milliseconds until it must be ready, for which it needs a few hundred of its own. */
const READY_MS = 30_000
/** Milliseconds for which its last words are waited for once it is gone; one taken over may have left a child. */
const LAST_WORDS_MS = 2000

export interface StartOptions {
  /** Seconds of processor time after which the system ends it; undefined where who uses it knows better. */
  readonly cpuSeconds?: number | undefined
  /** For tests: another program than the decoder's, and how long it may take to be ready. */
  readonly program?: URL
  readonly readyMs?: number
}

/** A process; it is disposed of by a SIGKILL. */
export interface StartedDecoder extends AsyncDisposable {
  /**
   * Resolves when it is gone: why, where it never was ready or went by itself; undefined where its user left, or it was
   * ended from outside.
   */
  readonly ended: Promise<Error | undefined>
  /** Our end of the connection that it was started with, where that was not given. */
  readonly connection: Duplex
}

/**
 * Starts a decoder process. It inherits nothing but its connection, a pipe whose end tells it that we are gone, and one
 * for its last words; it has no environment, may read only its own program, write no file, start no process, gain no
 * right, and is a Unix user of its own where we may change users. One that is not ready in time is ended.
 *
 * For the main thread: nobody waits for a process whose thread has ended, so it would stay behind as a zombie.
 * @param given its end of a connection, or `pipe` for a new one
 */
export function startDecoder(given: Socket | 'pipe', options: StartOptions = {}): StartedDecoder {
  const user = unprivilegedId()
  const [program, ...args] = commandLine(user, options)
  const child = spawn(program, args, {
    stdio: ['pipe', given, 'pipe'],
    env: {},
    cwd: '/',
  })
  const ended = watchEnd(child, options.readyMs)
  // A process that is gone breaks its pipes; that is heard otherwise.
  child.stdin?.on('error', () => {})
  return {
    ended,
    connection: given === 'pipe' ? (child.stdio[CONNECTION] as Duplex) : given,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

function commandLine(user: number | undefined, { cpuSeconds, program }: StartOptions): [string, ...string[]] {
  const root = new URL('../../../', import.meta.url)
  const readable = [new URL('src/', root), new URL('package.json', root)].map((url) => fileURLToPath(url))
  return [
    'prlimit',
    ...['--core=0', '--fsize=0', `--nofile=${FILES}`, `--data=${DATA}`],
    ...(cpuSeconds === undefined ? [] : [`--cpu=${cpuSeconds}:${cpuSeconds + 1}`]),
    ...(user === undefined ? [] : [`--nproc=${PROCESSES}`]),
    ...['--', 'setpriv', '--no-new-privs', '--ambient-caps=-all', '--inh-caps=-all', '--pdeathsig=KILL'],
    // It changes users by itself, once it has read its program, which others may have no right to read.
    ...(user === undefined ? [] : ['--bounding-set=-all,+setgid,+setuid']),
    ...['--', process.execPath, '--permission', '--allow-worker'],
    // It says of --allow-worker what is true of native code, and of no use among a decoder's last words.
    '--disable-warning=PERM0006',
    ...readable.map((path) => `--allow-fs-read=${path}`),
    `--max-old-space-size=${HEAP_MIB}`,
    fileURLToPath(program ?? new URL('./decoder.mjs', import.meta.url)),
    ...(user === undefined ? [] : [String(user)]),
  ]
}

function watchEnd(child: ChildProcess, readyMs = READY_MS): Promise<Error | undefined> {
  let said = ''
  let isReady = false
  let late: MachineFault | undefined
  const timer = setTimeout(() => {
    late = notReady(`it took more than ${readyMs} ms`)
    child.kill('SIGKILL')
  }, readyMs)
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < SAID) said += text.slice(0, SAID)
    if (isReady || !said.includes(READY)) return
    isReady = true
    clearTimeout(timer)
  })
  const silent = new Promise((resolve) => child.stderr?.once('close', resolve))
  return new Promise<Error | undefined>((resolve) => {
    child.once('error', (cause) => resolve(notStarted(cause)))
    child.once('exit', async (code, signal) => {
      // What it said may come later.
      await Promise.race([silent, delay(LAST_WORDS_MS, undefined, { ref: false })])
      const reason = reasonOf(code, signal, said)
      resolve(late ?? (isReady ? reason : beforeReady(reason)))
    })
  }).finally(() => clearTimeout(timer))
}

/** Exit codes of prlimit and setpriv where they cannot do what they are to, or start what follows. */
const NOT_STARTED = [126, 127]

function notStarted(cause: unknown): MachineFault {
  return new MachineFault('start a decoder: the system starts no such process', {
    cause,
    hint: 'Install util-linux (prlimit, setpriv); raise the limit on processes.',
  })
}

/** It had been given nothing yet that could be to blame. */
const beforeReady = (reason: Error | undefined) =>
  reason === undefined || reason instanceof MachineFault ? reason : notReady(reason)

function notReady(cause: unknown): MachineFault {
  return new MachineFault('start a decoder: it was not ready in time, or ended before', {
    cause,
    hint: 'Look at memory, processor and limits of the machine; the cause, in the log, says more.',
  })
}

/** How a process ends by what others do, be it the system that runs out of memory. */
const FROM_OUTSIDE = ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']

function reasonOf(code: number | null, signal: string | null, said: string): Error | undefined {
  if (signal !== null && FROM_OUTSIDE.includes(signal)) return undefined
  if (signal === 'SIGXCPU') {
    return new LibraryError('too_large', 'decode: it takes more processor time than it may')
  }
  if (code !== null && NOT_STARTED.includes(code)) return notStarted(said)
  if (code === OUT_OF_MEMORY) return tooMuchMemory()
  return new Error(`a decoder ended with ${signal ?? `code ${code}`}`, { cause: said })
}

/** What it means for an image that a thread or process of its registration needed more memory than it may have. */
export function tooMuchMemory(cause?: unknown): Refusal {
  return new Refusal('memory-limit', 'The image needs more memory to decode than a registration may use.', {
    cause,
    hint: 'Convert it to a raw image, compress it with lz4 or xz and register that.',
  })
}
