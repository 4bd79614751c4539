import { OPERATIONS, runWithFaults } from '../support/fault-operations.ts'
import { openFaultWorld } from '../support/fault-world.ts'
import { runPowerCuts } from '../support/power-cuts.ts'
import type { Attack } from './attack.ts'

const SHORT_MS = 8_000
/** A long round draws a new library now and then, so that one that is old hides nothing. */
const LONG_MS = 120_000
/** Of the power, on files that keep any part of what was not synced. */
const SHORT_CUTS = 10
const LONG_CUTS = 300
/** Calls of one operation, about. */
const CALLS = 110

/** Random operations of which random calls to the store and the catalog fail, alone, several or in a row. */
export const faults: Attack = {
  name: 'faults',
  async run({ random, short, signal, count, say }) {
    await using world = await openFaultWorld()
    const below = (bound: number) => Math.floor(random() * bound)
    const end = performance.now() + (short ? SHORT_MS : LONG_MS)
    let [runs, failures] = [0, 0]
    while (performance.now() < end && !signal.aborted) {
      const operation = OPERATIONS[below(OPERATIONS.length)] ?? OPERATIONS[0]
      if (!operation) return
      const bytes = Buffer.alloc(512 * (1 + below(4096)), `${operation.name} ${below(1000)}`)
      const failed = await runWithFaults(world, operation, { bytes, due: draw(below), kind: below(12) })
      runs++
      failures += failed.length
      count('registrations')
      count('faults', failed.length)
    }
    if (!signal.aborted) count('faults', await runPowerCuts(random, short ? SHORT_CUTS : LONG_CUTS))
    say(`${failures} calls failed in ${runs} operations`)
  },
}

/** At most four, so that what is tried five times succeeds in the end. */
function draw(below: (bound: number) => number): number[] {
  const first = 1 + below(CALLS)
  const row = Array.from({ length: 1 + below(3) }, (_, index) => first + index)
  return below(2) === 0 ? [...row, 1 + below(CALLS)] : row
}
