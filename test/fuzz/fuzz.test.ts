import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { needs } from '../support/tools.ts'
import { readCorpus } from './corpus.ts'
import { type Finding, fuzz } from './fuzz.ts'
import { TARGETS } from './targets.ts'

/** The same each time, so that a change of the code alone can make a difference; `npm run fuzz` draws others. */
const SEED = 5
/** Inputs besides those that each reader begins with. */
const RUNS = 250

const abort = new AbortController()
after(() => abort.abort())

function tell({ target, message, input }: Finding): string {
  return `${target}: ${message}\ninput in base64: ${Buffer.from(input).toString('base64').slice(0, 20_000)}`
}

describe('fuzz: every reader survives what it never saw', { concurrency: 2 }, () => {
  for (const { name } of TARGETS) {
    test(
      `fuzz: ${name} refuses or reads, and other programs agree`,
      needs('gzip', 'lz4', 'qemu-img', 'xz', 'zstd'),
      async () => {
        const options = {
          target: name,
          seed: SEED,
          runs: RUNS,
          guided: false,
          compared: true,
          signal: abort.signal,
        }
        const { finding, endings } = await fuzz(options)
        assert.equal(finding && tell(finding), undefined)
        assert.ok(
          endings.some((ending) => ending.startsWith('accepted')) && endings.length > 4,
          endings.join(', '),
        )
      },
    )
  }
})

test('fuzz: a folder of the corpus has the name of a reader, and only small inputs', () => {
  for (const { name } of TARGETS) {
    for (const input of readCorpus(name)) assert.ok(input.length <= 16_384, `${name}: ${input.length} bytes`)
  }
})
