/**
 * Loaded into a process before its program (`node --import`): counts the steps that change what is on disk, in all of
 * its threads, and kills the process right after one of them. So it dies at each commit of the catalog and at each
 * change of a file, not only where chance strikes.
 *
 * In the environment: DIE_AT, the step's number, from 1; STEPS_FILE, where the step is named on which it died, or how
 * many there were where it ended by itself.
 */
import fs, { writeFileSync } from 'node:fs'
import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { StatementSync } from 'node:sqlite'
import threads, { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads'

interface Plan {
  readonly dieAt: number
  readonly report: string
  /** How many steps were taken, in all threads. */
  readonly counter: Int32Array<SharedArrayBuffer>
}

type Call = (this: unknown, ...words: unknown[]) => unknown

if (isMainThread) {
  const counter = new Int32Array(new SharedArrayBuffer(4))
  const report = process.env.STEPS_FILE ?? '/dev/null'
  setEnvironmentData('die-at-step', { dieAt: Number(process.env.DIE_AT ?? 0), report, counter })
  process.on('exit', () => writeFileSync(report, `${counter[0]} steps`))
}
const { dieAt, report, counter } = getEnvironmentData('die-at-step') as unknown as Plan

function step(what: string): void {
  const number = Atomics.add(counter, 0, 1) + 1
  if (number !== dieAt) return
  writeFileSync(report, `died at step ${number}: ${what}`)
  process.kill(process.pid, 'SIGKILL')
  // Nothing more happens in this thread, however long the signal takes.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

function after(
  holder: object,
  name: string,
  counts: (words: readonly unknown[]) => boolean = () => true,
): void {
  const calls = holder as Record<string, Call>
  const original = calls[name]
  if (!original) throw new Error(`there is no ${name}`)
  calls[name] = function (...words) {
    const result = original.apply(this, words)
    if (!counts(words)) return result
    if (result instanceof Promise) return result.finally(() => step(name))
    step(name)
    return result
  }
}

const isWriting = ([, flags]: readonly unknown[]) => typeof flags === 'string' && flags !== 'r'
const CHANGES = ['link', 'rename', 'unlink', 'mkdir', 'rm', 'truncate', 'writeFile']
for (const name of CHANGES) after(promises, name)
for (const name of CHANGES) after(fs, `${name}Sync`)
after(promises, 'open', isWriting)
after(fs, 'openSync', isWriting)
after(fs, 'fsyncSync')
// Logs are no step.
after(fs, 'writeSync', ([fd]) => typeof fd === 'number' && fd > 2)

const statements = StatementSync.prototype as unknown as Record<'run', Call>
const { run } = statements
statements.run = function (...words) {
  if ((this as StatementSync).sourceSQL !== 'commit') return run.apply(this, words)
  step('before a commit')
  const result = run.apply(this, words)
  step('after a commit')
  return result
}

if (isMainThread) {
  const { Worker } = threads
  // Threads are started without the environment that had this loaded; those that they start inherit it from them.
  threads.Worker = class extends Worker {
    constructor(program: string | URL, options: threads.WorkerOptions = {}) {
      super(program, { ...options, execArgv: ['--import', import.meta.url] })
    }
  }
}
syncBuiltinESMExports()
