/**
 * Fuzzes the readers: `npm run fuzz`, with `--seconds N` (60) or `--runs N` for each reader, `--only NAME` for one,
 * `--keep` to add what reached new code to the corpus, `--input FILE` with `--only` to try one input again.
 * SEED=… chooses what is drawn. Findings are saved below .cache/fuzz; the exit status tells whether there are any.
 */
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { keepInput, saveInput } from '../test/fuzz/corpus.ts'
import { type FuzzOptions, type FuzzResult, fuzz } from '../test/fuzz/fuzz.ts'
import { smallestOf } from '../test/fuzz/smallest.ts'
import { TARGETS } from '../test/fuzz/targets.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    runs: { type: 'string' },
    only: { type: 'string' },
    input: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
})
const seed = Number(process.env.SEED ?? randomInt(2 ** 31))
const runs = values.runs === undefined ? Number.POSITIVE_INFINITY : Number(values.runs)

// A finding lies in a folder named for its reader.
const only = values.only ?? (values.input && basename(dirname(values.input)))
const names = TARGETS.map((target) => target.name).filter((name) => only === undefined || name === only)
if (names.length === 0)
  throw new Error(`no reader ${only}; there are ${TARGETS.map((t) => t.name).join(', ')}`)

async function report(name: string, { cases, finding, fresh, endings }: FuzzResult): Promise<void> {
  console.log(`${name}: ${cases} cases, ${endings.length} ways to end, ${fresh.length} inputs that were new`)
  if (values.input && !finding) console.log(endings.join('\n'))
  if (values.keep) {
    for (const input of await smallestOf(name, fresh)) console.log(`kept ${keepInput(name, input)}`)
  }
  if (!finding) return
  process.exitCode = 1
  const path = values.input ?? saveInput('.cache/fuzz', name, finding.input)
  console.log(`${finding.message}\nSEED=${seed}; again: npm run fuzz -- --only ${name} --input ${path}`)
}

for (const target of names) {
  const options: FuzzOptions = { target, seed, runs, guided: true, compared: true }
  const signal =
    runs === Number.POSITIVE_INFINITY ? AbortSignal.timeout(Number(values.seconds) * 1000) : undefined
  const input = values.input && { only: readFileSync(values.input) }
  await report(target, await fuzz({ ...options, signal, ...input }))
}
