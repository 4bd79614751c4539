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
  for (const { name, cost = 1 } of TARGETS) {
    test(
      `fuzz: ${name} refuses or reads, and other programs agree`,
      needs('gzip', 'lz4', 'qemu-img', 'xz', 'zstd'),
      async () => {
        const options = {
          target: name,
          seed: SEED,
          runs: Math.ceil(RUNS / cost),
          guided: false,
          compared: true,
          signal: abort.signal,
        }
        const { finding, endings } = await fuzz(options)
        assert.equal(finding && tell(finding), undefined)
        assert.ok(
          endings.some((ending) => ending.startsWith('accepted')),
          endings.join(', '),
        )
      },
    )
  }
})

/** What does wrong, what is told of it, and for how long it may, milliseconds. */
const WRONGS: readonly (readonly [string, RegExp, number])[] = [
  ['throw', /x is not a function/, 5000],
  ['hang', /not done within/, 250],
  ['wait', /ended without a word/, 5000],
  ['allocate', /bytes were allocated/, 5000],
  ['heap', /the thread died.*memory/, 5000],
  ['pieces', /depends on the pieces/, 5000],
]

for (const [wrong, message, deadlineMs] of WRONGS) {
  test(`fuzz: a reader that does wrong is found out: ${wrong}`, async () => {
    const options = { target: 'broken', seed: 1, runs: 0, guided: false, compared: false, deadlineMs }
    const { finding } = await fuzz({ ...options, only: Buffer.from(wrong) })
    assert.match(finding?.message ?? 'nothing was found', message)
    assert.equal(Buffer.from(finding?.input ?? []).toString(), wrong)
  })
}

test('fuzz: a folder of the corpus has the name of a reader, and only small inputs', () => {
  for (const { name } of TARGETS) {
    for (const input of readCorpus(name)) assert.ok(input.length <= 16_384, `${name}: ${input.length} bytes`)
  }
})
