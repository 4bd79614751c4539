import { LibraryError } from '#base/errors.ts'
import { withLogFields } from '#base/log-context.ts'
import type { Server, ServerTrouble } from '#model/server.ts'
import { type Context, saveTrouble } from './context.ts'
import type { Machine, MachineEnd } from './qemu/machine.ts'
import { giveUp, isHopeless, type Outcome, reconcile } from './reconcile.ts'
import { retryDelayMs } from './retry.ts'
import { findMachine, noteEnd } from './running.ts'
import { endOffer, newRuntime, type Runtime } from './runtime.ts'

/** How often a server that runs is looked at although nobody asked for it. */
const LOOK_MS = 30_000

/** Does one thing at a time with one server. */
export class ServerWorker implements AsyncDisposable {
  readonly #context: Context
  readonly #runtime: Runtime
  readonly #onGone: () => void
  #last: Promise<unknown> = Promise.resolve()
  #isAwake = false
  #cancelLook: (() => void) | undefined
  #failures = 0
  #disposed = false

  constructor(context: Context, server: Server, { fresh, onGone }: { fresh: boolean; onGone: () => void }) {
    this.#context = context
    this.#onGone = onGone
    const wake = () => this.wake()
    const onEnd = (machine: Machine, end: MachineEnd) => this.#noteEnd(machine, end)
    this.#runtime = newRuntime(context, server, { fresh, wake, onEnd })
  }

  get machine(): Machine | undefined {
    return this.#runtime.running?.machine
  }

  get console() {
    return this.#runtime.running?.console
  }

  /** Looks at the server as soon as nothing else is done with it. */
  wake(): void {
    if (this.#isAwake || this.#disposed) return
    this.#isAwake = true
    this.#cancelLook?.()
    this.#cancelLook = undefined
    this.exclusive(() => this.#look()).catch((error) => {
      const { log } = this.#context.options
      log.error({ err: error, server: this.#runtime.id }, 'cannot look after a server')
      this.#lookIn(retryDelayMs(this.#failures))
    })
  }

  /** Somebody has changed what the server is to be: what is under way gives way to that. */
  redirect(): void {
    this.#failures = 0
    this.#runtime.look?.abort(new Error('the server is to be something else now'))
    this.#interruptMerge()
    this.wake()
  }

  /** Tries at once what was put off. */
  hurry(): void {
    this.#failures = 0
    this.wake()
  }

  #interruptMerge(): void {
    this.#runtime.merging?.abort(new Error('merging waits for something else'))
  }

  /** Does something with the server while nothing else is. */
  exclusive<T>(task: (runtime: Runtime) => Promise<T>): Promise<T> {
    // Whoever's request it was that woke us, the lines are about the server.
    const inside = () => withLogFields({ server: this.#runtime.id }, () => task(this.#runtime))
    const run = this.#last.then(inside)
    this.#last = run.catch(() => {})
    return run
  }

  /** The same before any merging, which is taken up again afterwards. */
  async urgent<T>(task: (runtime: Runtime) => Promise<T>): Promise<T> {
    this.#runtime.urgent++
    this.#interruptMerge()
    try {
      return await this.exclusive(task)
    } finally {
      this.#runtime.urgent--
      this.wake()
    }
  }

  /** Resolves once nothing is done with the server, or about to be. */
  async settled(): Promise<void> {
    for (let last: unknown; last !== this.#last; ) {
      last = this.#last
      await last
    }
  }

  /** Takes hold of what runs of it, from before this process began. */
  async adopt(server: Server): Promise<void> {
    await this.exclusive((runtime) => findMachine(this.#context, runtime, server))
  }

  async #look(): Promise<void> {
    this.#isAwake = false
    if (this.#disposed) return
    const look = new AbortController()
    this.#runtime.look = look
    try {
      const outcome: Outcome = await reconcile(this.#context, this.#runtime, look.signal)
      this.#failures = 0
      if (outcome === 'gone') this.#onGone()
      if (outcome === 'look-again') this.#lookIn(LOOK_MS)
    } catch (error) {
      // Whoever broke it off has woken us, or is about to dispose of us.
      if (!look.signal.aborted) await this.#fail(error)
    } finally {
      this.#runtime.look = undefined
    }
  }

  async #fail(error: unknown): Promise<void> {
    const { catalog, log } = this.#context.options
    const { id } = this.#runtime
    const delay = retryDelayMs(++this.#failures)
    log.warn({ err: error, server: id, failures: this.#failures }, 'a server is not what it is to be')
    const server = await catalog.servers.find(id)
    if (server && server.goal === 'running' && isHopeless(server, error)) {
      await giveUp(this.#context, this.#runtime, server, error)
      return
    }
    this.#lookIn(delay)
    await saveTrouble(this.#context, id, toTrouble(error))
  }

  #lookIn(delayMs: number): void {
    if (this.#disposed || this.#isAwake) return
    this.#cancelLook?.()
    this.#cancelLook = this.#context.timer(delayMs, () => {
      this.#cancelLook = undefined
      this.wake()
    })
  }

  #noteEnd(machine: Machine, end: MachineEnd): void {
    if (this.#disposed) return
    this.#interruptMerge()
    this.exclusive((runtime) => noteEnd(this.#context, runtime, machine, end))
      .catch((error) => {
        const { log } = this.#context.options
        log.error({ err: error, server: this.#runtime.id }, 'cannot write down that a machine ended')
        // The next look finds an active server without a machine, and says so.
        this.#runtime.looked = false
      })
      .finally(() => this.wake())
  }

  /** Lets go of everything; QEMU goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.#cancelLook?.()
    this.#runtime.look?.abort(new Error('the library is about to stop'))
    this.#interruptMerge()
    await this.#last
    const { running } = this.#runtime
    running?.machine.detach()
    await running?.held.end()
    await running?.console[Symbol.asyncDispose]()
    await endOffer(this.#runtime)
  }
}

function toTrouble(error: unknown): ServerTrouble {
  const retried = 'It is tried again by itself; tell the operator if it lasts.'
  if (error instanceof LibraryError) {
    return { message: `The server waits: ${error.message}.`, hint: error.hint ?? retried }
  }
  const { code } = error as NodeJS.ErrnoException
  const isFull = code === 'ENOSPC' || code === 'EDQUOT'
  const reason = isFull ? "the host's disk is full" : 'something on the host does not work'
  return { message: `The server waits: ${reason}.`, hint: retried }
}
