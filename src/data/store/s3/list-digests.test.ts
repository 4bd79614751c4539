import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { listDigests } from './list-digests.ts'

const digestOf = (seed: number) => createHash('sha256').update(String(seed)).digest('hex')

/** Lists these, and counts requests. */
function listing(digests: readonly string[]) {
  const sorted = digests.toSorted()
  const counts = { lists: 0, atOnce: 0, most: 0 }
  async function* list(digits: string, after = '') {
    counts.lists++
    counts.most = Math.max(counts.most, ++counts.atOnce)
    await setImmediate()
    counts.atOnce--
    for (const digest of sorted) if (digest.startsWith(digits) && digest > after) yield { digest }
  }
  return { list, counts, sorted }
}

for (const count of [0, 1, 999, 1000, 1001, 9000]) {
  test(`list: ${count} digests come in order, each once`, async () => {
    const { list, counts, sorted } = listing(Array.from({ length: count }, (_, seed) => digestOf(seed)))
    const all = (await Array.fromAsync(listDigests(list))).map(({ digest }) => digest)
    assert.deepEqual(all, sorted)
    assert.ok(count < 1000 ? counts.lists === 1 : counts.lists > 1, `${counts.lists} lists`)
    assert.ok(counts.most <= 8, `${counts.most} lists at once`)
    const middle = sorted[Math.floor(count / 3)]
    const rest = (await Array.fromAsync(listDigests(list, middle))).map(({ digest }) => digest)
    assert.deepEqual(rest, middle === undefined ? [] : sorted.slice(Math.floor(count / 3) + 1))
  })
}

test('list: digests that begin alike are listed, too', async () => {
  const alike = Array.from({ length: 2500 }, (_, seed) => `${'a'.repeat(40)}${digestOf(seed).slice(40)}`)
  const { list, sorted } = listing([...alike, 'f'.repeat(64)])
  const found: string[] = []
  for await (const { digest } of listDigests(list)) {
    found.push(digest)
    // Those behind would be many millions of shards.
    if (found.length === alike.length) break
  }
  assert.deepEqual(found, sorted.slice(0, -1))
})

test('list: a shard that fails is told in its turn', async () => {
  const { list, sorted } = listing(Array.from({ length: 3000 }, (_, seed) => digestOf(seed)))
  async function* failing(digits: string, after?: string) {
    if (digits.startsWith('9')) throw new Error('no answer')
    yield* list(digits, after)
  }
  const found: string[] = []
  const reading = async () => {
    for await (const { digest } of listDigests(failing)) found.push(digest)
  }
  await assert.rejects(reading, /no answer/)
  assert.deepEqual(
    found,
    sorted.filter((digest) => digest < '9'),
  )
})
