import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { LibraryError } from '#base/errors.ts'
import type { DamageRecords, FoundDamage } from '#control/library/damage.ts'
import type { Repair } from '#control/library/repair.ts'
import type { DamagedObject } from '#control/orbit/check-small-objects.ts'
import { CheckFindings, type CheckRoot } from '#data/disk/check-findings.ts'
import { type CheckedFile, type CheckPlace, type DamagedFile, ROUND_START } from '#data/disk/check-round.ts'
import type { Checker, ReadSoFar } from '#data/disk/checker.ts'
import type { Store } from '#data/store/store.ts'
import type { CheckState, CheckStates } from './check-state.ts'
import type { CheckObserver } from './metrics/observer.ts'

export interface BackgroundCheckOptions {
  readonly checker: Checker
  readonly store: Store
  readonly records: DamageRecords
  readonly states: CheckStates
  /** Everything that must be readable, by names that an operator knows. */
  readonly roots: () => AsyncIterable<CheckRoot>
  /** Objects whose bytes stand in the catalog, read at the pace that is asked for. */
  readonly smallObjects: (pace: (bytes: number) => Promise<void>) => AsyncIterable<DamagedObject>
  /** Removes what has been in quarantine for long enough. */
  readonly clearQuarantine: () => Promise<void>
  readonly repair: Repair
  /** Milliseconds within which each stored file is read once. */
  readonly ageMs: number
  /** Bytes per second, never exceeded on average. */
  readonly rate: number
  /** How long it leaves the library to itself after the start, and between two looks at what is damaged, ms. */
  readonly startMs?: number
  readonly lookMs?: number
  readonly now: () => number
  readonly observer?: CheckObserver | undefined
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
}

const START_MS = 60_000
const LOOK_MS = 60_000
/** After a round that could not go on. */
const RETRY_MS = 15 * 60_000
/** How long a repair that failed waits for its next attempt: doubled each time, to a day. */
const REPAIR_MS = 3600_000
const REPAIR_MAX_MS = 24 * REPAIR_MS
const HURTS_MAX = 100_000
/** Of objects that are remembered. */
const OBJECTS_MAX = 100

/**
 * Reads everything that is stored, round after round, and sees to what it finds: who is hurt is written down and said,
 * and what can be had again is mended. A round takes half the age that nothing may exceed, so that whatever happens to
 * be read first in one round and last in the next is read within it. Where a round is survives a restart.
 */
export class BackgroundCheck {
  readonly #options: BackgroundCheckOptions
  /** Found, and not written down yet. */
  readonly #pending = new Map<string, DamagedFile>()
  readonly #attempts = new Map<string, { failures: number; notBefore: number }>()
  #woken = Promise.withResolvers<void>()

  constructor(options: BackgroundCheckOptions) {
    this.#options = options
  }

  /** Works until the signal aborts; whatever goes wrong is logged and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    const { startMs = START_MS, ageMs } = this.#options
    await pause(Math.min(startMs, ageMs / 10), signal)
    await Promise.all([this.#rounds(signal), this.#looks(signal)])
  }

  async #rounds(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await pause(await this.#round(signal), signal)
      } catch (error) {
        if (signal.aborted) return
        this.#options.log.error({ err: error }, 'the check of what is stored cannot go on')
        await this.#stopped(error)
        await pause(RETRY_MS, signal)
      }
    }
  }

  /** For the operator to see; where the catalog does not answer either, the log has it. */
  async #stopped(error: unknown): Promise<void> {
    const { states, now } = this.#options
    const why = error instanceof Error ? error.message : String(error)
    const note = async () => {
      const state = await states.read()
      if (state) await states.write({ ...state, stopped: { at: now(), why } })
    }
    await note().catch(() => {})
  }

  /** Reads all of it, or what a restart left of it. @returns how long until the next one, milliseconds */
  async #round(signal: AbortSignal): Promise<number> {
    const { checker, states, ageMs, rate, now, log } = this.#options
    const known = await states.read()
    const restMs = known ? known.startedAt + ageMs / 2 - now() : 0
    // A clock that was set back must not put the next round off for years.
    if (known?.finishedAt !== null && known && restMs > 0) return Math.min(restMs, ageMs / 2)
    const goesOn = known?.finishedAt === null
    const objects = known?.objects ?? []
    const begun: CheckState = {
      ...(goesOn
        ? { startedAt: known.startedAt, place: known.place, lastFinishedAt: known.lastFinishedAt }
        : { startedAt: now(), place: ROUND_START, lastFinishedAt: known?.finishedAt ?? null }),
      ...{ finishedAt: null, objects },
    }
    await states.write(begun)
    if (!goesOn) await this.#findMissingManifests(signal)
    let saving: Promise<unknown> = Promise.resolve()
    let read: ReadSoFar = { bytes: 0, manifests: 0, blocks: 0 }
    await checker.round({
      after: begun.place,
      until: begun.startedAt + ageMs / 2,
      fastest: rate,
      signal,
      onBegun: ({ bytes, rate, late }) => {
        log.info({ bytes, rate: Math.round(rate), place: begun.place }, 'checking what is stored')
        if (late) log.warn({ bytes, rate }, 'check.rate is too low for check.age: some of it is read later')
      },
      onDamaged: (file) => this.#take(file),
      onPlace: (place: CheckPlace, now) => {
        this.#options.observer?.onRead({
          bytes: now.bytes - read.bytes,
          manifests: now.manifests - read.manifests,
          blocks: now.blocks - read.blocks,
        })
        read = now
        // What is not written down yet must be met again after a crash.
        if (this.#pending.size === 0) saving = saving.then(() => states.write({ ...begun, place }))
      },
    })
    await saving
    await this.#settle(signal)
    await this.#forgetUnneeded()
    const damaged = await this.#checkSmallObjects(signal)
    await states.write({ ...begun, objects: damaged, finishedAt: now() })
    await this.#options.clearQuarantine()
    log.info('all that is stored was checked')
    return Math.max(0, begun.startedAt + ageMs / 2 - now())
  }

  async #checkSmallObjects(signal: AbortSignal): Promise<DamagedObject[]> {
    const { smallObjects, rate, log } = this.#options
    const damaged: DamagedObject[] = []
    const pace = async (bytes: number) => {
      await pause((bytes / rate) * 1000, signal)
      signal.throwIfAborted()
    }
    for await (const object of smallObjects(pace)) {
      log.error(object, 'a stored object is damaged')
      if (damaged.length < OBJECTS_MAX) damaged.push(object)
    }
    return damaged
  }

  async #findMissingManifests(signal: AbortSignal): Promise<void> {
    const { store, roots } = this.#options
    // Where the whole store is gone, this says so.
    await store.generation()
    for await (const { manifest } of roots()) {
      signal.throwIfAborted()
      if ((await store.manifests.sizeOf(manifest)) === undefined)
        this.#take({ kind: 'manifest', digest: manifest, why: 'it is not stored', isMissing: true })
    }
  }

  #take(file: DamagedFile): void {
    this.#options.observer?.onDamaged(file)
    this.#pending.set(file.kind + file.digest, file)
    this.#woken.resolve()
  }

  async #looks(signal: AbortSignal): Promise<void> {
    const { lookMs = LOOK_MS, log } = this.#options
    while (!signal.aborted) {
      // What comes from here on is looked at in the next turn.
      this.#woken = Promise.withResolvers()
      try {
        await this.#settle(signal)
        await this.#repairAll(signal)
      } catch (error) {
        if (signal.aborted) return
        log.warn({ err: error }, 'cannot see to what is damaged')
      }
      await Promise.race([pause(lookMs, signal), this.#woken.promise])
    }
  }

  #settling: Promise<unknown> = Promise.resolve()

  /** Writes down what was found, and forgets what is mended. */
  #settle(signal: AbortSignal): Promise<void> {
    const settled = this.#settling.then(async () => {
      await this.#writeDown(signal)
      await this.#forgetMended(signal)
    })
    this.#settling = settled.catch(() => {})
    return settled
  }

  async #writeDown(signal: AbortSignal): Promise<void> {
    const found = [...this.#pending]
    if (found.length === 0) return
    const { records, log } = this.#options
    for (const damage of await this.#explain(
      found.map(([, file]) => file),
      signal,
    )) {
      const { kind, digest, why, hurts, manifests } = damage
      log.error({ kind, digest, why, hurts }, `a stored ${kind} is damaged`)
      if (manifests.length === 0) continue
      for (const { id, name } of await records.found({ kind, digest, why, manifests }))
        log.error({ image: id, name }, 'an image is damaged')
    }
    for (const [key, file] of found) if (this.#pending.get(key) === file) this.#pending.delete(key)
    // The end of a round may have come before the look that repairs.
    this.#woken.resolve()
  }

  /** Whom damaged files hurt; what is missing and hurts nobody was removed by a collection. */
  async #explain(
    files: readonly DamagedFile[],
    signal: AbortSignal,
  ): Promise<(FoundDamage & { readonly hurts: readonly string[] })[]> {
    const { store, roots } = this.#options
    const findings = new CheckFindings(HURTS_MAX)
    for (const { kind, digest, why, isMissing } of files)
      findings.add(kind, digest, new LibraryError(isMissing ? 'not_found' : 'corrupt', why))
    const named = new Map<string, string[]>()
    const distinct = async function* (): AsyncGenerator<CheckRoot> {
      for await (const { manifest, what } of roots()) {
        const names = named.get(manifest)
        if (names) names.push(what)
        else {
          named.set(manifest, [what])
          yield { manifest, what: manifest }
        }
      }
    }
    const { damaged, missing } = await findings.explain({ store, roots: distinct, signal })
    return [...damaged, ...missing].map(({ kind, digest, why, hurts: manifests }) => ({
      kind,
      digest,
      why,
      manifests,
      hurts: manifests.flatMap((manifest) => named.get(manifest) ?? []),
    }))
  }

  async #forgetMended(signal: AbortSignal): Promise<void> {
    const { checker, records, store, log } = this.#options
    const there: CheckedFile[] = []
    for (const file of await records.list())
      if ((await store[`${file.kind}s`].sizeOf(file.digest)) !== undefined) there.push(file)
    if (there.length === 0) return
    for (const file of await checker.soundOf(there, signal)) {
      const whole = await records.mended(file)
      this.#options.observer?.onMended(file)
      log.info({ kind: file.kind, digest: file.digest }, `a stored ${file.kind} is mended`)
      for (const { id, name } of whole) log.info({ image: id, name }, 'an image is whole again')
    }
  }

  /** What was destroyed since is nobody's damage. */
  async #forgetUnneeded(): Promise<void> {
    const { records, roots } = this.#options
    const files = await records.list()
    if (files.length === 0) return
    const unneeded = new Set(files.flatMap(({ manifests }) => manifests))
    for await (const { manifest } of roots()) unneeded.delete(manifest)
    for (const file of files)
      if (file.manifests.every((manifest) => unneeded.has(manifest))) await records.mended(file)
  }

  async #repairAll(signal: AbortSignal): Promise<void> {
    const { records, now } = this.#options
    const images = await records.images()
    for (const id of this.#attempts.keys())
      if (!images.some((image) => image.id === id)) this.#attempts.delete(id)
    for (const { id } of images) {
      const { failures, notBefore } = this.#attempts.get(id) ?? { failures: 0, notBefore: 0 }
      if (now() < notBefore) continue
      const waitMs = Math.min(REPAIR_MAX_MS, REPAIR_MS * 2 ** Math.min(failures, 10))
      this.#attempts.set(id, { failures: failures + 1, notBefore: now() + waitMs })
      await this.#repair(id, signal)
    }
  }

  async #repair(id: string, signal: AbortSignal): Promise<void> {
    const { repair, log } = this.#options
    try {
      const from = await repair(id, signal)
      log.info({ image: id, from }, 'the bytes of a damaged image were read again')
      await this.#settle(signal)
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error, image: id }, 'cannot mend an image')
    }
  }
}

/** Timers go no further. */
const LONGEST_MS = 24 * 3600_000

/** Waits, at most a day; an abort ends it without an error. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(Math.min(ms, LONGEST_MS), undefined, { signal, ref: false }).catch(() => {})
}
