import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { exampleBlock, isError, storeContract } from './contract.ts'
import { measureStore, StoreClock } from './measured.ts'
import { memoryStore } from './memory.ts'
import type { Store } from './store.ts'

storeContract('measured', async () => measureStore(memoryStore(), () => {}))

function open(change: Partial<Store['blocks']> = {}) {
  const inner = memoryStore()
  const clock = new StoreClock()
  Object.assign(inner.blocks, change)
  const store = measureStore(inner, clock.record)
  const told = () => clock.take().map(({ operation, outcome, bytes }) => [operation, outcome, bytes])
  return { store, clock, told }
}

test('measured store: tells of each call what it was, how it ended and how many bytes it was about', async () => {
  const { store, told } = open()
  const { digest, stored } = exampleBlock(1)
  assert.equal(await store.blocks.claim(digest), undefined)
  await store.blocks.put(digest, stored)
  assert.equal(await store.blocks.claim(digest), stored.length)
  await store.blocks.get(digest)
  await store.sync()
  assert.deepEqual(told(), [
    ['block_claim', 'missing', 0],
    ['block_put', 'done', stored.length],
    ['block_claim', 'done', stored.length],
    ['block_get', 'done', stored.length],
    ['sync', 'done', 0],
  ])
  assert.deepEqual(told(), [], 'each is told once')
})

test('measured store: an error is passed on, and counted by its code', async () => {
  const { digest, stored } = exampleBlock(2)
  const { store, told } = open({
    put: () => Promise.reject(new LibraryError('unavailable', 'put a block')),
    sizeOf: () => Promise.reject(new TypeError('a bug')),
    claim: () => {
      throw new LibraryError('corrupt', 'thrown at once')
    },
  })
  await assert.rejects(store.blocks.get(digest), isError('not_found'))
  await assert.rejects(store.blocks.put(digest, stored), isError('unavailable'))
  await assert.rejects(store.blocks.sizeOf(digest), TypeError)
  await assert.rejects(store.blocks.claim(digest), isError('corrupt'))
  assert.deepEqual(
    told().map(([operation, outcome]) => [operation, outcome]),
    [
      ['block_get', 'missing'],
      ['block_put', 'unavailable'],
      ['block_size', 'failed'],
      ['block_claim', 'corrupt'],
    ],
  )
})

test('measured store: a clock that nobody reads does not grow without end', () => {
  const clock = new StoreClock()
  const time = { operation: 'sync', seconds: 0, bytes: 0, outcome: 'done' } as const
  clock.recordAll(Array.from({ length: 20_000 }, () => time))
  assert.equal(clock.take().length, 10_000)
  clock.record(time)
  assert.equal(clock.take().length, 1)
})
