/** What an attack counts; the last line of a run has the sums. */
export type Counted =
  | 'registrations'
  | 'kills'
  | 'faults'
  | 'bad servers'
  | 'fuzz cases'
  | 'combinations of rights'
  | 'damaged blocks'
  | 'racing clients'

/** One go at the library. What it draws by chance comes from `random` alone, so that the seed repeats it. */
export interface Round {
  readonly seed: number
  /** From 0 to below 1. */
  readonly random: () => number
  /** In the short form: a few seconds each, for every change of the code; else as much as is worth while. */
  readonly short: boolean
  /** Aborts when the run is to end. */
  readonly signal: AbortSignal
  count(what: Counted, times?: number): void
  /** For people who look on. */
  say(line: string): void
}

/** A way to make the library do wrong. It throws where that worked: an AssertionError that says what was wrong. */
export interface Attack {
  /** A word or two, for `--only`. */
  readonly name: string
  run(round: Round): Promise<void>
}
