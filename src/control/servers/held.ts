import type { ServerTrouble } from '#model/server.ts'
import { type Context, record } from './context.ts'
import type { Machine } from './qemu/machine.ts'
import { retryDelayMs } from './retry.ts'

const LOOK_MS = 3000

const TROUBLE: ServerTrouble = {
  message: 'The guest is held: the host could not read or write for its disk.',
  hint: 'It goes on by itself once that is over; tell the operator if it lasts.',
}

/** Looks after one machine's guest: one that the host had to hold is let go on as soon as that may help. */
export class HeldWatch {
  readonly #context: Context
  readonly #id: string
  readonly #machine: Machine
  readonly #wake: () => void
  /** Ends the wait for the next look; undefined while one is under way, or before the first. */
  #cancel: (() => void) | undefined
  #ended = false
  #tries = 0
  #looking: Promise<void> | undefined

  constructor(context: Context, { id, machine, wake }: { id: string; machine: Machine; wake: () => void }) {
    this.#context = context
    this.#id = id
    this.#machine = machine
    this.#wake = wake
  }

  get trouble(): ServerTrouble | undefined {
    return this.#tries > 0 ? TROUBLE : undefined
  }

  /** Begins, once what the guest reads from is in place. */
  start(): void {
    if (this.#ended || this.#looking || this.#cancel) return
    this.#looking = this.#look()
      .catch((error) => {
        const { log } = this.#context.options
        if (!this.#ended) log.warn({ err: error, server: this.#id }, 'cannot see whether a guest is held')
      })
      .finally(() => {
        this.#looking = undefined
        if (this.#ended) return
        const delay = this.#tries > 0 ? Math.max(LOOK_MS, retryDelayMs(this.#tries) / 2) : LOOK_MS
        this.#cancel = this.#context.timer(delay, () => {
          this.#cancel = undefined
          this.start()
        })
      })
  }

  async #look(): Promise<void> {
    if (!(await this.#machine.isHeld())) {
      if (this.#tries === 0) return
      this.#tries = 0
      await this.#tell('server.released', 'The guest goes on.')
      return
    }
    const isNew = this.#tries++ === 0
    if (isNew) await this.#tell('server.held', TROUBLE.message)
    await this.#machine.release()
  }

  async #tell(action: 'server.held' | 'server.released', message: string): Promise<void> {
    const { catalog, now } = this.#context.options
    await catalog.transaction(async (tables) => {
      const server = await tables.servers.find(this.#id)
      if (server) await record(tables, server, { action, message, at: now() })
    })
    this.#wake()
  }

  async end(): Promise<void> {
    this.#ended = true
    this.#cancel?.()
    await this.#looking
  }
}
