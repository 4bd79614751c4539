import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Attack, Round } from './attack.ts'
import { endProcesses, watchLeftovers } from './leftovers.ts'
import { type RunOptions, runAttacks, seedOf } from './run-attacks.ts'

const attack = (name: string, run: (round: Round) => Promise<void>): Attack => ({ name, run })
const harmless = attack('harmless', async ({ count }) => count('kills', 2))

function run(attacks: readonly Attack[], options: Partial<RunOptions> = {}) {
  const lines: string[] = []
  const result = runAttacks({
    attacks,
    seed: 7,
    short: true,
    limitMs: 60_000,
    roundMs: 60_000,
    graceMs: 60_000,
    signal: new AbortController().signal,
    say: (line) => lines.push(line),
    leftovers: async () => [],
    ...options,
  })
  return { result, lines }
}

test('torture: the short form runs each attack once and sums up', async () => {
  const { result, lines } = run([harmless, attack('other', async ({ count }) => count('kills'))])
  const { rounds, counts, wrong } = await result
  assert.deepEqual([rounds, [...counts], wrong], [2, [['kills', 3]], undefined])
  assert.deepEqual(
    lines.filter((line) => line.includes('SEED')),
    ['harmless: SEED=7', 'other: SEED=7'],
  )
})

test('torture: a round with the seed of another draws the same', async () => {
  const drawn: number[][] = []
  const drawing = attack('drawing', async ({ random, seed }) => {
    drawn.push([seed, random(), random()])
  })
  await run([drawing], { seed: seedOf(7, 3) }).result
  await run([drawing], { seed: seedOf(7, 3) }).result
  await run([drawing], { seed: seedOf(7, 4) }).result
  assert.deepEqual(drawn[0], drawn[1])
  assert.equal(new Set(drawn.flat()).size, 6)
})

test('torture: the long form goes on with other seeds until time is up', async () => {
  const seeds = new Set<number>()
  const collecting = attack('collecting', async ({ seed, short }) => {
    assert.equal(short, false)
    seeds.add(seed)
  })
  const { rounds } = await run([collecting], { short: false, limitMs: 50 }).result
  assert.ok(rounds > 5 && seeds.size === rounds, `${rounds} rounds`)
})

test('torture: the first wrong outcome ends the run and is told with its seed', async () => {
  const error = new assert.AssertionError({ message: 'the disk is another one' })
  const wrong = attack('wrong', () => Promise.reject(error))
  const { result } = run([harmless, wrong, attack('never run', () => assert.fail('it ran'))])
  const { rounds, wrong: told } = await result
  assert.deepEqual([rounds, told], [2, { attack: 'wrong', seed: 7, error }])
})

test('torture: a round that does not end is wrong', async () => {
  const hanging = attack('hanging', () => new Promise(() => {}))
  const { wrong } = await run([hanging], { roundMs: 1, graceMs: 1 }).result
  assert.match(String(wrong?.error), /it had not ended after/)
})

test('torture: what a round says after it was broken off does not count', async () => {
  const stop = new AbortController()
  const broken = attack('broken', async ({ signal }) => {
    stop.abort()
    assert.ok(!signal.aborted, 'the library did wrong')
  })
  const { result, lines } = run([broken, harmless], { signal: stop.signal })
  const { rounds, wrong } = await result
  assert.deepEqual([rounds, wrong, lines.at(-1)], [1, undefined, '  broken off'])
})

test('torture: a file and a process that stay are wrong, whoever started the process', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'leftovers-'))
  t.after(() => rm(folder, { recursive: true }))
  const leftovers = watchLeftovers(folder, { patienceMs: 0 })
  assert.deepEqual(await leftovers(), [])
  await writeFile(join(folder, 'forgotten'), '')
  // A shell that ends at once, so that what it started is nobody's.
  const env = { ...process.env, TMPDIR: folder }
  const shell = spawn('sh', ['-c', 'sleep 600 & echo'], { env, stdio: ['ignore', 'pipe', 'ignore'] })
  await once(shell.stdout, 'data')
  const { wrong } = await run([harmless], { leftovers }).result
  await endProcesses(folder)
  assert.match(String(wrong?.error), /left behind: .*process \d+ \(.*sleep 600.*\/forgotten/)
  await once(shell, 'close')
  assert.deepEqual(await leftovers(), [`${folder}/forgotten`])
})
