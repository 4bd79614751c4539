/** Two ways to do one piece of work, taken in turn, so that a change of the machine's speed hurts both alike. */
export interface Contest {
  readonly name: string
  /** Each does the work once and resolves to seconds. */
  readonly ours: () => Promise<number>
  readonly theirs: () => Promise<number>
}

export interface Verdict {
  readonly ours: number
  readonly theirs: number
  /** How many times as fast we are: median of the ratios of each pair. */
  readonly ratio: number
  readonly spread: readonly [number, number]
}

export const median = (numbers: readonly number[]): number => {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** A line of a table: what either side does, and how many times as fast we are. */
export function printRow(name: string, verdict: Verdict, rateOf: (seconds: number) => string): string {
  const { ours, theirs, ratio, spread } = verdict
  const [low, high] = spread.map((one) => one.toFixed(2))
  if (Number.isNaN(theirs)) return `| ${name} | ${rateOf(ours)} | | |`
  return `| ${name} | ${rateOf(ours)} | ${rateOf(theirs)} | **${ratio.toFixed(2)}×** (${low}–${high}) |`
}

export async function hold(contest: Contest, rounds: number): Promise<Verdict> {
  const ours: number[] = []
  const theirs: number[] = []
  for (let round = 0; round < rounds; round++) {
    const first = round % 2 === 0
    if (first) ours.push(await contest.ours())
    theirs.push(await contest.theirs())
    if (!first) ours.push(await contest.ours())
    console.error(
      `${contest.name} ${round + 1}/${rounds}: ${ours.at(-1)?.toFixed(2)} s, ${theirs.at(-1)?.toFixed(2)} s`,
    )
  }
  const ratios = theirs.map((seconds, round) => seconds / (ours[round] ?? Number.NaN))
  return {
    ours: median(ours),
    theirs: median(theirs),
    ratio: median(ratios),
    spread: [Math.min(...ratios), Math.max(...ratios)],
  }
}
