/** The thread that fuzzes one target; see fuzz.ts. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { createRandom } from '../support/random-disk.ts'
import { readCorpus } from './corpus.ts'
import { type Coverage, watchCoverage } from './coverage.ts'
import { judge, signatureOf } from './judge.ts'
import { MAX_INPUT, mutate, pick } from './mutation.ts'
import { SharedInput } from './shared-input.ts'
import { type Case, Disagreement, type Random, type Target } from './target.ts'
import { targetNamed } from './targets.ts'

export interface ThreadTask {
  readonly target: string
  readonly seed: number
  /** Inputs to make after those that are there; infinite until told to stop. */
  readonly runs: number
  /** Whether to keep what reaches new code, which is found out at some cost. */
  readonly guided: boolean
  /** Whether other programs are asked too. */
  readonly compared: boolean
  /** Nothing but this, once. */
  readonly only?: Uint8Array
  readonly memory: SharedArrayBuffer
}

export type ThreadReport =
  | { readonly kind: 'found'; readonly input: Uint8Array; readonly message: string }
  | { readonly kind: 'done'; readonly fresh: readonly Uint8Array[]; readonly endings: readonly string[] }

/** Cases whose coverage is looked at together, for a look takes as long as some cases. */
const GROUP = 16
/** From this cost on, a reader is not watched. */
const SLOW = 10
/** Cases that other programs get at once. */
const BATCH = 64

class Fuzzer {
  readonly #target: Target
  readonly #task: ThreadTask
  readonly #shared: SharedInput
  readonly #coverage: Coverage | undefined
  readonly #signatures = new Set<string>()
  readonly #pool: Uint8Array[] = []
  readonly #fresh: Uint8Array[] = []
  #reached = new Set<string>()
  #group: Uint8Array[] = []
  #batch: Case[] = []

  constructor(task: ThreadTask) {
    this.#task = task
    this.#target = targetNamed(task.target)
    this.#shared = new SharedInput(task.memory)
    // Who takes long does so on other threads, which are not watched.
    const guided = task.guided && (this.#target.cost ?? 1) < SLOW
    this.#coverage = guided ? watchCoverage() : undefined
  }

  async run(): Promise<ThreadReport> {
    const { seed, runs, only } = this.#task
    if (only) {
      await this.#try(only, createRandom(seed))
    } else {
      const known = [...this.#target.seeds(), ...readCorpus(this.#target.name)]
      for (const input of known) await this.#try(input, createRandom(seed))
      this.#pool.push(...known)
      this.#reached = this.#coverage?.take() ?? new Set()
      for (let run = 0; run < runs && !this.#shared.stopped; run++) await this.#one(createRandom(seed + run))
    }
    await this.#compare()
    await this.#target.close?.()
    return { kind: 'done', fresh: this.#fresh, endings: [...this.#signatures].sort() }
  }

  async #one(random: Random): Promise<void> {
    const input = this.#make(random)
    if (await this.#try(input, random)) this.#keep(input)
    this.#group.push(input)
    if (this.#coverage && this.#group.length >= GROUP) await this.#lookAtGroup(this.#coverage, random)
  }

  /** Keeps those of the last inputs that reached code which none reached before. */
  async #lookAtGroup(coverage: Coverage, random: Random): Promise<void> {
    const group = this.#group
    this.#group = []
    const fresh = coverage.take().difference(this.#reached)
    for (const input of fresh.size > 0 ? group : []) {
      await this.#try(input, random)
      const reached = coverage.take()
      if (fresh.isDisjointFrom(reached)) continue
      this.#keep(input)
      for (const place of reached) {
        this.#reached.add(place)
        fresh.delete(place)
      }
    }
    // What does not repeat, such as work done once, is no news either.
    for (const place of fresh) this.#reached.add(place)
  }

  #make(random: Random): Uint8Array {
    const { make, fields, mend } = this.#target
    const base = make && random() < 0.3 ? make(random) : pick(this.#pool, random)
    if (make && random() < 0.1) return base.subarray(0, MAX_INPUT)
    const changed = mutate(base, { fields: fields?.(base) ?? [], others: this.#pool, random })
    const input = mend && random() < 0.8 ? mend(changed) : changed
    return input.subarray(0, MAX_INPUT)
  }

  /** Whether it ended in a way that was not seen before. */
  async #try(input: Uint8Array, random: Random): Promise<boolean> {
    this.#shared.begin(input)
    const verdict = await judge(this.#target, input, random)
    this.#shared.end()
    const signature = signatureOf(verdict)
    const isNew = !this.#signatures.has(signature)
    this.#signatures.add(signature)
    // Most of what is refused is refused by the others for the same reason.
    if (this.#task.compared && (verdict.kind === 'accepted' || random() < 0.2))
      this.#batch.push({ input, verdict })
    if (this.#batch.length >= BATCH) await this.#compare()
    return isNew
  }

  #keep(input: Uint8Array): void {
    this.#pool.push(input)
    this.#fresh.push(input)
  }

  async #compare(): Promise<void> {
    const batch = this.#batch
    this.#batch = []
    if (!this.#target.compare || batch.length === 0) return
    const folder = await mkdtemp(join(tmpdir(), 'fuzz-'))
    try {
      await this.#target.compare(batch, folder)
    } finally {
      await rm(folder, { recursive: true })
    }
  }
}

const task = workerData as ThreadTask
const report = await new Fuzzer(task).run().catch((error: unknown): ThreadReport => {
  const input = error instanceof Disagreement ? error.input : new SharedInput(task.memory).input
  return { kind: 'found', input, message: (error instanceof Error && error.stack) || String(error) }
})
parentPort?.postMessage(report)
