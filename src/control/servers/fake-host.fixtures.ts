import { appendFileSync, closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { chmod, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import { orAbort } from '#base/or-abort.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { CreateLayer } from '#data/volume/volume.ts'
import type { Offer, ServersOptions } from './deps.ts'
import {
  type Hypervisor,
  MACHINE_FILES,
  type Machine,
  type MachineEnd,
  type MachineSpec,
} from './qemu/machine.ts'

/** A step that a daemon takes outside itself, before and after. */
export type Step = string

/** A QEMU that runs on, whatever becomes of daemons. Its files hold words, one a line, that the guest wrote. */
export class FakeProcess {
  readonly spec: MachineSpec
  layers: string[]
  usesExport: boolean
  isHeld = false
  readonly ended = Promise.withResolvers<MachineEnd>()
  isRunning = true
  /** What it has open stays open, also where somebody removed its name. */
  readonly #open = new Map<string, number>()

  constructor(spec: MachineSpec) {
    this.spec = spec
    this.layers = [...spec.layers]
    this.usesExport = spec.base === 'export'
    for (const name of spec.layers) this.open(name)
  }

  open(name: string): void {
    this.#open.set(name, openSync(join(this.spec.folder, name), 'a'))
  }

  write(word: string, name = this.layers.at(-1) ?? ''): void {
    appendFileSync(this.#open.get(name) ?? -1, `${word}\n`)
  }

  /** The frozen layers' words come into the lowest. */
  merge(): void {
    for (const name of this.layers.slice(1, -1)) {
      const words = readFileSync(join(this.spec.folder, name), 'utf8')
      for (const word of words.split('\n').filter(Boolean)) this.write(word, this.layers[0])
    }
  }

  end(how: MachineEnd): void {
    if (!this.isRunning) return
    this.isRunning = false
    for (const file of this.#open.values()) closeSync(file)
    this.#open.clear()
    this.ended.resolve(how)
  }
}

/** What is outside a daemon: processes, sockets, and whether steps succeed. */
export class FakeHost {
  readonly processes = new Map<string, FakeProcess>()
  readonly exports = new Set<string>()
  /** All steps so far, by all daemons. */
  readonly steps: Step[] = []
  /** Called before each step; throws to make it fail, `die` to end the daemon there. */
  onStep: (step: Step, index: number) => void | Promise<void> = () => {}
  /** What must never happen, and did. */
  readonly wrongs: string[] = []
  #daemon: FakeDaemon | undefined
  #death = Promise.withResolvers<void>()

  newDaemon(): FakeDaemon {
    this.#daemon = new FakeDaemon(this)
    this.#death = Promise.withResolvers()
    return this.#daemon
  }

  /** Nothing that the daemon does from now on has an effect. */
  killDaemon(): void {
    if (this.#daemon) this.#daemon.isDead = true
    this.exports.clear()
    this.#death.resolve()
  }

  /** Resolves when the daemon that runs now is dead. */
  get death(): Promise<void> {
    return this.#death.promise
  }

  processOf(folder: string): FakeProcess | undefined {
    const process = this.processes.get(folder)
    return process?.isRunning ? process : undefined
  }

  running(): FakeProcess[] {
    return [...this.processes.values()].filter(({ isRunning }) => isRunning)
  }

  end(): void {
    for (const process of this.processes.values()) process.end('died')
  }
}

class FakeDaemon {
  isDead = false
  readonly #host: FakeHost

  constructor(host: FakeHost) {
    this.#host = host
  }

  async step(name: Step, signal?: AbortSignal): Promise<void> {
    const host = this.#host
    if (!this.isDead) {
      host.steps.push(name)
      await host.onStep(name, host.steps.length)
    }
    // The dead do nothing any more.
    if (this.isDead) await new Promise(() => {})
    signal?.throwIfAborted()
  }

  /** A catalog that a dead daemon cannot change. */
  guard(catalog: Catalog): Catalog {
    const guarded =
      (change: Catalog['transaction'], name: string): Catalog['transaction'] =>
      async (work) => {
        await this.step(name)
        const result = await change(work)
        await this.step(`${name} done`)
        return result
      }
    return {
      ...catalog,
      transaction: guarded(catalog.transaction, 'commit'),
      relaxed: guarded(catalog.relaxed, 'relaxed'),
    }
  }

  readonly createLayer: CreateLayer = async (path) => {
    await this.step('createLayer')
    await writeFile(path, '', { flag: 'wx' })
    await this.step('createLayer done')
  }

  readonly fillBase: ServersOptions['fillBase'] = async ({ path, onProgress, signal }) => {
    await this.step('fill', signal)
    const partial = `${path}.partial`
    await writeFile(partial, 'half')
    onProgress(2048)
    await this.step('fill half', signal)
    await writeFile(partial, 'base')
    await chmod(partial, 0o444)
    await rename(partial, path)
    await this.step('fill done', signal)
  }

  readonly offer: Offer = async ({ path }) => {
    await this.step('offer')
    this.#host.exports.add(path)
    return {
      [Symbol.asyncDispose]: async () => {
        await this.step('offer ends')
        this.#host.exports.delete(path)
        const process = this.#host.processOf(dirname(path))
        if (process?.usesExport) this.#host.wrongs.push('an export ended that was in use')
      },
    }
  }

  readonly hypervisor: Hypervisor = {
    accelerator: async () => 'tcg',
    start: async (spec, signal) => {
      await this.step('start', signal)
      const host = this.#host
      if (host.processOf(spec.folder)) host.wrongs.push('two machines in one folder')
      const base = spec.base === 'file' ? existsSync(join(spec.folder, MACHINE_FILES.base)) : true
      const socket = join(spec.folder, MACHINE_FILES.exportSocket)
      if (!base || (spec.base === 'export' && !host.exports.has(socket)))
        host.wrongs.push('started without base')
      const process = new FakeProcess(spec)
      host.processes.set(spec.folder, process)
      try {
        await this.step('started', signal)
      } catch (error) {
        process.end('quit')
        throw error
      }
      return this.#attach(process)
    },
    find: async (folder) => {
      await this.step('find')
      const process = this.#host.processOf(folder)
      return process && this.#attach(process)
    },
    endOthers: async (_parent, kept) => {
      const others = this.#host.running().filter(({ spec }) => !kept.has(spec.folder))
      for (const process of others) process.end('quit')
      return others.length
    },
  }

  #attach(process: FakeProcess): Machine {
    const demand = async (step: Step, signal?: AbortSignal) => {
      await this.step(step, signal)
      if (!process.isRunning) throw new LibraryError('unavailable', `${step}: QEMU is gone`)
    }
    const { folder } = process.spec
    const ended = Promise.withResolvers<MachineEnd>()
    let isDetached = false
    void process.ended.promise.then((how) => {
      if (!isDetached && !this.isDead) ended.resolve(how)
    })
    return {
      ended: ended.promise,
      layers: async () => {
        await demand('layers')
        return [...process.layers]
      },
      usesExport: async () => {
        await demand('usesExport')
        return process.usesExport
      },
      switchToBase: async () => {
        await demand('switchToBase')
        if (!existsSync(join(folder, MACHINE_FILES.base))) this.#host.wrongs.push('no base to switch to')
        process.usesExport = false
        await demand('switchToBase done')
      },
      addLayer: async (name) => {
        await demand('addLayer')
        process.open(name)
        process.layers.push(name)
        await demand('addLayer done')
        return { pausedMs: 0.6, frozen: false }
      },
      mergeLayers: async (signal) => {
        await demand('merge', signal)
        process.merge()
        await orAbort(demand('merge half', signal), signal)
        process.layers = [...process.layers.slice(0, 1), ...process.layers.slice(-1)]
        await demand('merge done')
      },
      isHeld: async () => process.isHeld,
      release: async () => {
        await demand('release')
        process.isHeld = false
      },
      pressPower: async () => {
        await demand('pressPower')
        process.end('powered-off')
      },
      askReboot: () => demand('askReboot'),
      reset: () => demand('reset'),
      quit: async () => {
        await this.step('quit')
        process.end('quit')
        await this.step('quit done')
      },
      detach: () => {
        isDetached = true
      },
    }
  }
}
