import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { GiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'
import { CONNECTION, OUT_OF_MEMORY } from './process-facts.ts'
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

export interface StartOptions {
  /** Seconds of processor time after which the system ends it; undefined where who uses it knows better. */
  readonly cpuSeconds?: number | undefined
  /** For tests: another program than the decoder's. */
  readonly program?: URL
}

/** A process; it is disposed of by a SIGKILL. */
export interface StartedDecoder extends AsyncDisposable {
  /** Resolves when it is gone: why, where it went by itself and not by its user's leaving or a SIGKILL. */
  readonly ended: Promise<Error | undefined>
  /** Our end of the connection that it was started with, where that was not given. */
  readonly connection: Duplex
}

/**
 * Starts a decoder process. It inherits nothing but its connection, a pipe whose end tells it that we are gone, and one
 * for its last words; it has no environment, may read only its own program, write no file, start no process, gain no
 * right, and is a Unix user of its own where we may change users.
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
  const ended = watchEnd(child)
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

function watchEnd(child: ChildProcess): Promise<Error | undefined> {
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < SAID) said += text.slice(0, SAID)
  })
  return new Promise((resolve) => {
    child.once('error', (cause) => resolve(notStarted(cause)))
    child.once('exit', (code, signal) => resolve(reasonOf(code, signal, said)))
  })
}

/** Exit codes of prlimit and setpriv where they cannot do what they are to, or start what follows. */
const NOT_STARTED = [126, 127]

function notStarted(cause: unknown): LibraryError {
  return new LibraryError('unavailable', 'start a decoder: the system starts no such process', {
    cause,
    hint: 'Install util-linux (prlimit, setpriv); raise the limit on processes.',
  })
}

function reasonOf(code: number | null, signal: string | null, said: string): Error | undefined {
  if (signal === 'SIGKILL') return undefined
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
