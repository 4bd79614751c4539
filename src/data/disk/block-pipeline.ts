import type { Worker } from 'node:worker_threads'
import { Resources } from '#base/resources.ts'
import { startThread } from '#base/start-thread.ts'
import { fromPlainError } from '#base/thread-errors.ts'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { createCodecMemory } from '#data/codec/codec.ts'
import type { StoreTimes } from '#data/store/measured.ts'
import type { StorePlace } from '#data/store/open-store.ts'
import type { BlockResult, BlockTask, BlockWorkerData } from './block-task.ts'
import { RUNAWAY_MS, type RunawayWatch, watchRunaway } from './runaway.ts'
import { roomFor, scratchSize, type WorkerRoom } from './scratch.ts'
import { crashOf } from './thread-crash.ts'

export type FinishedTask = Extract<BlockResult, { blocks: unknown }>
type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never
export type NewTask = WithoutId<BlockTask>

/** The first 64 KiB of a codec memory stay free, so that an address of 0 is always a mistake. */
const RESERVED = 65_536
/** Heap of one block worker, MiB: what it decodes lies outside of it. */
const HEAP_MIB = 128

interface Lane {
  readonly worker: Worker
  readonly watch: RunawayWatch
  busy: number
}

interface PipelineDeps {
  readonly threads: number
  readonly storePlace: StorePlace
  /** Whose temporary files the store's are. */
  readonly writer: string
  readonly reserve: number | undefined
  readonly xzDictionary: number
  /** Where decoder processes are to be had. */
  readonly decoders: string
  /** Called for every finished task, in any order; what it throws stops everything. */
  readonly onFinished: (result: FinishedTask) => void
  readonly onStoreTimes?: ((times: StoreTimes) => void) | undefined
  /** Called once, when something went wrong in a worker. */
  readonly onFailure: (reason: unknown) => void
  /** For tests: what the workers run, and milliseconds of processor time after which one is a runaway. */
  readonly program?: URL
  readonly runawayMs?: number
}

/**
 * Hands blocks to worker threads through shared memory and passes on what became of them. The first fault of any
 * kind stops everything: whoever waits is told it.
 */
export class BlockPipeline implements AsyncDisposable {
  /** All of the shared memory; a slot is an address in it. */
  readonly bytes: Uint8Array
  readonly #deps: PipelineDeps
  readonly #room: WorkerRoom
  readonly #memory: WebAssembly.Memory
  readonly #slots: Resources<number>
  readonly #spoolPlaces: Resources<number>
  readonly #xzPlaces: Resources<number>
  readonly #lanes: Lane[] = []
  readonly #pending = new Map<number, { lane: Lane; ended: (result?: FinishedTask) => void }>()
  #nextId = 1
  #failure: { reason: unknown } | undefined
  #drained: { resolve: () => void; reject: (reason: unknown) => void } | undefined
  #closing = false

  constructor(deps: PipelineDeps) {
    this.#deps = deps
    const room = roomFor(deps.storePlace)
    this.#room = room
    const slotCount = deps.threads * room.slots
    const slotsStart = RESERVED + deps.threads * scratchSize(room)
    this.#memory = createCodecMemory(slotsStart + slotCount * BLOCK_SIZE)
    this.bytes = new Uint8Array(this.#memory.buffer)
    this.#slots = new Resources(
      Array.from({ length: slotCount }, (_, index) => slotsStart + index * BLOCK_SIZE),
    )
    // For each region, and one task that waits in its worker.
    const spoolTasks = deps.threads * (room.regions + 1)
    this.#spoolPlaces = new Resources(Array.from({ length: spoolTasks }, (_, place) => place))
    this.#xzPlaces = new Resources(Array.from({ length: deps.threads }, (_, place) => place))
  }

  /** Lends a place for one block of plain bytes: an address into `bytes`. */
  acquireSlot(): Promise<number> {
    return this.#slots.acquire()
  }

  /** Stores the `length` bytes at a slot as the block `index`; the slot is free again afterwards. */
  submitBlock(index: number, address: number, length: number): void {
    this.#start({ kind: 'memory', index, address, length }, () => this.#slots.release(address))
  }

  /** Waits for a free place, then stores a region that lies in the spool; `then` is called when it is stored. */
  async submitSpool(
    task: Extract<NewTask, { kind: 'spool' }>,
    then: (result: FinishedTask) => void,
  ): Promise<void> {
    const place = await this.#spoolPlaces.acquire()
    this.#start(task, (result) => {
      this.#spoolPlaces.release(place)
      if (result) then(result)
    })
  }

  /** Waits for a free worker, then decodes and stores one xz block; `then` is called when it is stored. */
  async submitXz(
    task: Extract<NewTask, { kind: 'xz' }>,
    then: (result: FinishedTask) => void,
  ): Promise<void> {
    const place = await this.#xzPlaces.acquire()
    this.#start(
      task,
      (result) => {
        this.#xzPlaces.release(place)
        if (result) then(result)
      },
      [task.bytes.buffer],
    )
  }

  /** Resolves when all that was submitted is stored. */
  drain(): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure.reason)
    if (this.#pending.size === 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#drained = { resolve, reject }
    })
  }

  /** Stops everything for this reason; the first one counts. */
  fail(reason: unknown): void {
    if (this.#failure) return
    this.#failure = { reason }
    this.#slots.fail(reason)
    this.#spoolPlaces.fail(reason)
    this.#xzPlaces.fail(reason)
    this.#drained?.reject(reason)
    this.#deps.onFailure(reason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true
    for (const { watch } of this.#lanes) watch[Symbol.dispose]()
    await Promise.all(this.#lanes.map(({ worker }) => worker.terminate()))
  }

  #start(task: NewTask, ended: (result?: FinishedTask) => void, transfer: ArrayBuffer[] = []): void {
    if (this.#failure) throw this.#failure.reason
    const id = this.#nextId++
    const lane = this.#pickLane()
    lane.busy++
    this.#pending.set(id, { lane, ended })
    lane.watch.progressed()
    lane.worker.postMessage({ ...task, id }, transfer)
  }

  /** The least busy worker; they are started as they are first needed, since most refused images never need one. */
  #pickLane(): Lane {
    let best = this.#lanes[0]
    for (const lane of this.#lanes) if (best === undefined || lane.busy < best.busy) best = lane
    if (best !== undefined && (best.busy === 0 || this.#lanes.length === this.#deps.threads)) return best
    const lane = this.#startLane()
    this.#lanes.push(lane)
    return lane
  }

  #startLane(): Lane {
    const workerData: BlockWorkerData = {
      memory: this.#memory,
      scratch: RESERVED + this.#lanes.length * scratchSize(this.#room),
      storePlace: this.#deps.storePlace,
      writer: this.#deps.writer,
      reserve: this.#deps.reserve,
      xzDictionary: this.#deps.xzDictionary,
      decoders: this.#deps.decoders,
    }
    const { program = new URL('./block-worker.ts', import.meta.url), runawayMs = RUNAWAY_MS } = this.#deps
    const worker = startThread(program, { workerData, heapMib: HEAP_MIB })
    worker.on('message', (result: BlockResult) => this.#finish(result))
    worker.on('error', (error) => this.fail(crashOf(error)))
    worker.on('exit', (code) => {
      if (!this.#closing) this.fail(new Error(`a block worker ended with code ${code}`))
    })
    const watch = watchRunaway(worker, { limitMs: runawayMs, onRunaway: (error) => this.fail(error) })
    return { worker, watch, busy: 0 }
  }

  #finish(result: BlockResult): void {
    if (result.times) this.#deps.onStoreTimes?.(result.times)
    const task = this.#pending.get(result.id)
    if (!task) return
    task.lane.watch.progressed()
    if ('sign' in result) return
    this.#pending.delete(result.id)
    task.lane.busy--
    if ('error' in result) {
      task.ended()
      this.fail(fromPlainError(result.error))
      return
    }
    try {
      this.#deps.onFinished(result)
      task.ended(result)
      if (this.#pending.size === 0) this.#drained?.resolve()
    } catch (error) {
      this.fail(error)
    }
  }
}
