import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../support/random-disk.ts'
import type { Attack, Counted } from './attack.ts'

export interface RunOptions {
  readonly attacks: readonly Attack[]
  /** Of the first round of each attack; those of later rounds are drawn from it. */
  readonly seed: number
  readonly short: boolean
  /** In the long form, how long rounds are begun, milliseconds; the short form has one round of each attack. */
  readonly limitMs: number
  /** How long a round may take before its signal aborts, milliseconds. */
  readonly roundMs: number
  /** How long it may take after that; then it hangs, which is a wrong outcome too. */
  readonly graceMs: number
  /** Aborts when nobody wants to know any more. */
  readonly signal: AbortSignal
  readonly say: (line: string) => void
  /** What a round left behind, one line each: processes, files, memory. */
  readonly leftovers: () => Promise<readonly string[]>
}

export interface Wrong {
  readonly attack: string
  readonly seed: number
  readonly error: unknown
}

export interface RunResult {
  readonly rounds: number
  readonly counts: ReadonlyMap<Counted, number>
  readonly wrong: Wrong | undefined
  readonly ms: number
}

/** Runs attacks in turn until time is up, somebody ends it, or the library did wrong. */
export async function runAttacks(options: RunOptions): Promise<RunResult> {
  const { attacks, signal, short, limitMs } = options
  const start = performance.now()
  const passed = () => performance.now() - start
  const counts = new Map<Counted, number>()
  let rounds = 0
  let wrong: Wrong | undefined
  const isOver = () => wrong !== undefined || signal.aborted
  for (let turn = 0; turn === 0 || (!short && passed() < limitMs); turn++) {
    for (const attack of attacks) {
      if (isOver() || (turn > 0 && passed() >= limitMs)) break
      const seed = seedOf(options.seed, turn)
      const left = short ? Number.POSITIVE_INFINITY : Math.max(0, limitMs - passed())
      wrong = await runOne(attack, seed, { ...options, roundMs: Math.min(options.roundMs, left) }, counts)
      rounds++
    }
    if (isOver() || attacks.length === 0) break
  }
  return { rounds, counts, wrong, ms: passed() }
}

/** The first round has the seed itself, so that a round is repeated by naming its seed. */
export const seedOf = (seed: number, turn: number): number =>
  turn === 0 ? seed >>> 0 : Math.floor(createRandom(seed + turn)() * 2 ** 32)

const HANGS = Symbol('the round did not end')

async function runOne(
  attack: Attack,
  seed: number,
  options: RunOptions,
  counts: Map<Counted, number>,
): Promise<Wrong | undefined> {
  const { say, short, signal, roundMs, graceMs } = options
  say(`${attack.name}: SEED=${seed}`)
  const started = performance.now()
  const tooLong = new AbortController()
  const ended = AbortSignal.any([signal, tooLong.signal])
  const done = new AbortController()
  const round = attack.run({
    seed,
    random: createRandom(seed),
    short,
    signal: ended,
    count: (what, times = 1) => counts.set(what, (counts.get(what) ?? 0) + times),
    say: (line) => say(`  ${line}`),
  })
  const hang = hangs(tooLong, ended, { roundMs, graceMs, done: done.signal })
  let error: unknown
  try {
    if ((await Promise.race([round, hang])) === HANGS) {
      const seconds = Math.round((performance.now() - started) / 1000)
      return { attack: attack.name, seed, error: new Error(`it had not ended after ${seconds} s`) }
    }
  } catch (thrown) {
    error = thrown
  } finally {
    done.abort()
  }
  // What breaks because the round was broken off says nothing: the waits of the attack itself reject.
  if (ended.aborted && error !== undefined) say('  broken off')
  else if (error !== undefined) return { attack: attack.name, seed, error }
  if (signal.aborted) return undefined
  const left = await options.leftovers()
  if (left.length > 0)
    return { attack: attack.name, seed, error: new Error(`left behind: ${left.join('; ')}`) }
  say(`  as it should be, ${((performance.now() - started) / 1000).toFixed(1)} s`)
  return undefined
}

/** Ends a round that takes too long, and resolves where it does not end then either. */
async function hangs(
  tooLong: AbortController,
  ended: AbortSignal,
  { roundMs, graceMs, done }: { roundMs: number; graceMs: number; done: AbortSignal },
): Promise<typeof HANGS> {
  try {
    await sleep(roundMs, undefined, { signal: AbortSignal.any([ended, done]), ref: true })
  } catch {
    // It was ended by somebody else, or is done.
  }
  if (!done.aborted) tooLong.abort()
  try {
    await sleep(graceMs, undefined, { signal: done })
  } catch {
    // Done: nobody waits for this any more.
  }
  return HANGS
}
