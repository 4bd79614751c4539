import { AssertionError } from 'node:assert'
import { saveInput } from '../fuzz/corpus.ts'
import { fuzz as fuzzReader } from '../fuzz/fuzz.ts'
import { TARGETS } from '../fuzz/targets.ts'
import type { Attack } from './attack.ts'

/** Inputs for each reader in one round. */
const SHORT_RUNS = 150
const LONG_RUNS = 3000

/** Gives every reader of strangers' bytes what no writer writes. */
export const fuzz: Attack = {
  name: 'fuzz',
  async run({ seed, short, signal, count, say }) {
    for (const { name, cost = 1 } of TARGETS) {
      if (signal.aborted) return
      const runs = Math.ceil((short ? SHORT_RUNS : LONG_RUNS) / cost)
      const { cases, finding } = await fuzzReader({
        target: name,
        seed,
        runs,
        guided: !short,
        compared: true,
        signal,
      })
      count('fuzz cases', cases)
      if (finding) {
        const path = saveInput('.cache/fuzz', name, finding.input)
        throw new AssertionError({
          message: `${name}: ${finding.message}; again: npm run fuzz -- --input ${path}`,
        })
      }
      say(`${name}: ${cases} inputs`)
    }
  },
}
