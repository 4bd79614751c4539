import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import type { ServerTrouble } from '#model/server.ts'
import type { ServersOptions, Timer } from './deps.ts'
import { retryDelayMs } from './retry.ts'
import { isThere, linkBase } from './server-files.ts'

const CONCURRENCY = 2
/** How often progress is written down. */
const SAVE_MS = 1000

export interface BasesOptions {
  readonly options: Pick<ServersOptions, 'catalog' | 'fillBase' | 'now' | 'log'>
  /** Where bases are kept, each under its manifest's digest once it is complete. */
  readonly folder: string
  readonly timer: Timer
  /** Told of a server that waits when its base is complete, or why it is not yet. */
  readonly wake: (serverId: string) => void
}

interface Fill {
  readonly manifest: string
  /** Servers that wait for it, and their volumes. */
  readonly waiting: Map<string, string>
  readonly abort: AbortController
  running: Promise<void> | undefined
  /** Puts off the next attempt. */
  cancelRetry: (() => void) | undefined
  failures: number
  trouble: ServerTrouble | undefined
  savedAt: number
  saving: boolean
}

/** The disks of images as raw files: each is filled once for all that wait for it, and kept while a server has it. */
export class Bases implements AsyncDisposable {
  readonly #options: BasesOptions['options']
  readonly #folder: string
  readonly #timer: Timer
  readonly #wake: (serverId: string) => void
  readonly #fills = new Map<string, Fill>()
  /** Files come and go one after another, so that none is removed while it is linked. */
  #last: Promise<unknown> = Promise.resolve()
  #disposed = false

  constructor({ options, folder, timer, wake }: BasesOptions) {
    this.#options = options
    this.#folder = folder
    this.#timer = timer
    this.#wake = wake
  }

  pathOf(manifest: string): string {
    return join(this.#folder, manifest)
  }

  /** Why a base is not being filled right now although it should be. */
  troubleOf(manifest: string): ServerTrouble | undefined {
    return this.#fills.get(manifest)?.trouble
  }

  /** Puts the base into a server's folder. @returns whether it is there */
  async link(manifest: string, server: { id: string; folder: string }): Promise<boolean> {
    const isThere = await this.#exclusive(() => linkBase(this.pathOf(manifest), server.folder))
    if (isThere) this.#fills.get(manifest)?.waiting.delete(server.id)
    return isThere
  }

  /** Does the same, and where it is not there, has it filled and the server woken once it is. */
  async linkOrFill(
    manifest: string,
    server: { id: string; volumeId: string; folder: string },
  ): Promise<boolean> {
    if (await this.link(manifest, server)) return true
    if (this.#disposed) return false
    const fill = this.#fills.get(manifest) ?? this.#begin(manifest)
    fill.waiting.set(server.id, server.volumeId)
    return false
  }

  /** A server waits no more. What nobody waits for is not filled; how far it came is kept. */
  async leave(manifest: string, serverId: string): Promise<void> {
    const fill = this.#fills.get(manifest)
    fill?.waiting.delete(serverId)
    if (fill && fill.waiting.size === 0) await this.#end(fill)
  }

  /** Removes the base of a server that is about to be gone, unless another one has it. */
  async release(manifest: string, serverId: string): Promise<void> {
    await this.leave(manifest, serverId)
    await this.#exclusive(async () => {
      const used = await this.#listUsed(serverId)
      if (!used.has(manifest)) await this.#remove(manifest)
    })
  }

  /** Removes what no server has; to be called before anything else. */
  async clear(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const used = await this.#listUsed()
    for (const name of await readdir(this.#folder)) {
      if (!used.has(name.replace(/\..*/, ''))) await rm(join(this.#folder, name), { recursive: true })
    }
  }

  /** Manifests of the volumes that exist, without those of one server. */
  async #listUsed(exceptId?: string): Promise<Set<string>> {
    const { catalog } = this.#options
    const servers = await catalog.servers.listExisting()
    const ids = servers.map(({ id }) => id).filter((id) => id !== exceptId)
    return new Set((await catalog.volumes.ofServers(ids)).map(({ manifest }) => manifest))
  }

  async #remove(manifest: string): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      if (name.startsWith(manifest)) await rm(join(this.#folder, name), { force: true })
    }
  }

  async #end(fill: Fill): Promise<void> {
    await stop(fill)
    // Somebody may have come for it meanwhile.
    if (this.#fills.get(fill.manifest) !== fill) return
    this.#fills.delete(fill.manifest)
    for (const serverId of fill.waiting.keys()) this.#wake(serverId)
    this.#startMore()
  }

  #begin(manifest: string): Fill {
    const fill: Fill = {
      manifest,
      waiting: new Map(),
      abort: new AbortController(),
      running: undefined,
      cancelRetry: undefined,
      failures: 0,
      trouble: undefined,
      savedAt: this.#options.now(),
      saving: false,
    }
    this.#fills.set(manifest, fill)
    this.#startMore()
    return fill
  }

  #startMore(): void {
    for (const fill of this.#fills.values()) {
      const running = [...this.#fills.values()].filter((other) => other.running).length
      if (this.#disposed || running >= CONCURRENCY) return
      if (fill.abort.signal.aborted) continue
      if (!fill.running && !fill.cancelRetry) fill.running = this.#run(fill)
    }
  }

  async #run(fill: Fill): Promise<void> {
    const { manifest, abort } = fill
    try {
      await this.#fill(fill)
      this.#fills.delete(manifest)
    } catch (error) {
      if (abort.signal.aborted) return
      fill.failures++
      fill.trouble = toFillTrouble(error)
      this.#options.log.warn({ err: error, manifest, failures: fill.failures }, 'cannot fill a base')
      fill.cancelRetry = this.#timer(retryDelayMs(fill.failures), () => {
        fill.cancelRetry = undefined
        this.#startMore()
      })
    } finally {
      fill.running = undefined
      if (!abort.signal.aborted) for (const serverId of fill.waiting.keys()) this.#wake(serverId)
      this.#startMore()
    }
  }

  async #fill(fill: Fill): Promise<void> {
    const { manifest, abort } = fill
    const path = this.pathOf(manifest)
    // Whoever waits for it may have looked before another fill ended.
    if (await isThere(path)) return
    await this.#options.fillBase({
      manifest,
      path,
      signal: abort.signal,
      onProgress: (done) => {
        if (fill.trouble) {
          fill.trouble = undefined
          for (const serverId of fill.waiting.keys()) this.#wake(serverId)
        }
        void this.#save(fill, done)
      },
    })
  }

  async #save(fill: Fill, done: number): Promise<void> {
    const { catalog, now, log } = this.#options
    if (fill.saving || now() - fill.savedAt < SAVE_MS) return
    fill.saving = true
    fill.savedAt = now()
    try {
      await catalog.relaxed(async ({ volumes }) => {
        for (const id of fill.waiting.values()) await volumes.update(id, { filled: done })
      })
    } catch (error) {
      log.warn({ err: error }, 'cannot write down how far a base is')
    } finally {
      fill.saving = false
    }
  }

  #exclusive<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#last.then(task)
    this.#last = run.catch(() => {})
    return run
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    await Promise.all([...this.#fills.values()].map(stop))
    await this.#last
  }
}

async function stop(fill: Fill): Promise<void> {
  fill.abort.abort(new Error('the base is not needed now'))
  fill.cancelRetry?.()
  await fill.running
}

function toFillTrouble(error: unknown): ServerTrouble {
  if (error instanceof LibraryError && (error.code === 'corrupt' || error.code === 'not_found')) {
    return {
      message: 'The image cannot be copied to the server: some of its stored data is damaged or missing.',
      hint: 'Save what the server still has; tell the operator, whose log and check say more.',
    }
  }
  return {
    message:
      'The image cannot be copied to the server right now: the storage is full, away or reports an error.',
    hint: 'It is tried again by itself; tell the operator if it lasts.',
  }
}
