import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { runPowerCuts } from '../../../test/support/power-cuts.ts'
import { createRandom } from '../../../test/support/random-disk.ts'

const CUTS = Number(process.env.CUTS ?? 25)

test('power cuts: what was said to be safe is there, whatever of the rest the disk kept', async (t) => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 31))
  t.diagnostic(`SEED=${seed}`)
  await runPowerCuts(createRandom(seed), CUTS)
})
