import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { digestRanges } from './digest-ranges.ts'

const digests = Array.from({ length: 5000 }, (_, index) =>
  createHash('sha256').update(`${index}`).digest('hex'),
)

test('digest ranges: every digest belongs to one pass, and no pass holds more than the limit', async () => {
  for (const limit of [100, 1000, 4999, 5000, 1_000_000]) {
    const seen = new Map<string, number>()
    let passes = 0
    const fill = async (range: { set(digest: string, value: number): void }) => {
      for (const [index, digest] of digests.entries()) range.set(digest, index + 1)
    }
    for await (const range of digestRanges(fill, limit)) {
      const entries = [...range.entries()]
      assert.ok(entries.length <= limit)
      for (const [digest, value] of entries) {
        assert.ok(range.covers(digest) && !seen.has(digest))
        seen.set(digest, value)
      }
      for (const digest of digests) assert.equal(range.get(digest) > 0, range.covers(digest))
      passes++
    }
    assert.deepEqual(seen, new Map(digests.map((digest, index) => [digest, index + 1])))
    if (limit >= 5000) assert.equal(passes, 1)
    else assert.ok(passes <= (5000 / limit) * 8, `${passes} passes of ${limit}`)
  }
})

test('digest ranges: nothing to remember is one pass over everything', async () => {
  const ranges = await Array.fromAsync(digestRanges(async () => undefined))
  assert.equal(ranges.length, 1)
  assert.ok(ranges[0]?.covers('f'.repeat(64)) && ranges[0].covers('0'.repeat(64)))
})

test('digest ranges: the files of all passes are those of the store, and each is listed once', async () => {
  const sorted = digests.toSorted()
  let listed = 0
  async function* list(after = '') {
    for (const digest of sorted) {
      if (digest <= after) continue
      listed++
      yield { digest, size: 1, claimedIn: undefined }
    }
  }
  const fill = async (range: { set(digest: string, value: number): void }) => {
    for (const digest of digests) range.set(digest, 1)
  }
  const found: string[] = []
  let passes = 0
  for await (const range of digestRanges(fill, 300)) {
    for await (const { digest } of range.filesOf(list)) {
      assert.ok(range.covers(digest))
      found.push(digest)
    }
    passes++
  }
  assert.deepEqual(found, sorted)
  assert.ok(passes > 10)
  assert.ok(listed < sorted.length + passes, 'no more than one is looked at behind each range')
})
