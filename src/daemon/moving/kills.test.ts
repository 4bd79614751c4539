import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { openWorld, temporaryFolder } from '../../../test/support/moving.ts'

const PROGRAM = join(import.meta.dirname, '../../../bin/image-library')
const KILLS = 2

/** Runs a command, but kills it a few times before it may come to its end; it takes about `usualMs`. */
async function runKilled(words: readonly string[], killAt: () => number): Promise<void> {
  for (let round = 0; ; round++) {
    const child = spawn(PROGRAM, words, { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (chunk) => (said += chunk))
    const timer = round < KILLS ? setTimeout(() => child.kill('SIGKILL'), killAt()) : undefined
    const [code] = (await once(child, 'close')) as [number | null]
    clearTimeout(timer)
    if (code === 0) return
    assert.equal(code, null, `${words[0]}, round ${round}: ${said}`)
    assert.ok(round < KILLS, `${words[0]} was killed by somebody else`)
  }
}

test('backup, restore, move: killed at any moments, they come to the same end', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 32)
  t.diagnostic(`seed ${seed}`)
  const random = createRandom(seed)
  await using folder = await temporaryFolder()
  const at = (name: string) => join(folder.path, name)
  let contents: unknown
  {
    await using world = await openWorld({ data: at('old') })
    for (let image = 1; image <= 20; image++) await world.addImage(seed + image)
    contents = await world.contents()
  }
  // How long a start takes on this machine now; what follows takes somewhat longer.
  const startedAt = performance.now()
  await runKilled(['account', 'list', '--data', at('old')], () => 60_000)
  const startMs = performance.now() - startedAt
  const killAt = () => startMs / 2 + random.below(Math.ceil(startMs * 1.5))
  await runKilled(['backup', at('backup'), '--data', at('old'), '--keep', '1'], killAt)
  await runKilled(['restore', at('backup'), '--data', at('restored')], killAt)
  await runKilled(['migrate-data', '--from', at('restored'), '--to', at('moved')], killAt)
  await runKilled(['check', '--data', at('moved')], () => 60_000)
  await using moved = await openWorld({ data: at('moved') })
  assert.deepEqual(await moved.contents(), contents)
})
