import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { createReadiness, type ReadinessParts, type Stage } from './readiness.ts'

const NEVER = new Promise<never>(() => {})

function open(change: Partial<ReadinessParts> = {}) {
  const state = { stage: 'serving' as Stage, now: 0, looks: 0 }
  const warnings: unknown[] = []
  const readiness = createReadiness({
    catalog: {
      settings: {
        async get() {
          state.looks++
          return undefined
        },
        async set() {},
      },
    },
    store: { generation: async () => 1 },
    reserve: { look: () => ({ free: 100, kept: 100 }) },
    stage: () => state.stage,
    now: () => state.now,
    log: { warn: (...line: unknown[]) => void warnings.push(line.at(-1)) },
    keptMs: 1000,
    answerMs: 20,
    ...change,
  })
  return { readiness, state, warnings }
}

test('readiness: a process serves between its start and the order to stop', async () => {
  const { readiness, state } = open()
  for (const stage of ['starting', 'stopping'] as const) {
    state.stage = stage
    assert.deepEqual(await readiness(), [`the library is ${stage}`])
  }
  assert.equal(state.looks, 0, 'whoever stops asks nobody')
  state.stage = 'serving'
  assert.deepEqual(await readiness(), [])
})

test('readiness: each part that fails or does not answer is a reason, and says nothing of the inside', async () => {
  const { readiness, warnings } = open({
    catalog: { settings: { get: () => NEVER, set: () => NEVER } },
    store: { generation: () => Promise.reject(new Error('/srv/secret: EIO')) },
    reserve: { look: () => ({ free: 99, kept: 100 }) },
  })
  const reasons = ['the catalog does not answer', 'the store does not answer', 'the disk is full']
  assert.deepEqual(await readiness(), reasons)
  assert.deepEqual(
    warnings,
    reasons.map((reason) => `not ready: ${reason}`),
  )
})

test('readiness: what throws at once is a reason too', async () => {
  const { readiness } = open({
    reserve: {
      look() {
        throw new Error('no such folder')
      },
    },
  })
  assert.deepEqual(await readiness(), ['the disk is full'])
})

test('readiness: a store whose folder is gone, as where a disk is not mounted, is a reason', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'readiness-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await using store = await openFilesystemStore(folder)
  const { readiness, state } = open({ store, answerMs: 5000 })
  assert.deepEqual(await readiness(), [])
  await rm(folder, { recursive: true })
  state.now = 5000
  assert.deepEqual(await readiness(), ['the store does not answer'])
})

test('readiness: one look serves all who ask within a few seconds, and a change is logged once', async () => {
  let free = 0
  const { readiness, state, warnings } = open({ reserve: { look: () => ({ free, kept: 1 }) } })
  await Promise.all(Array.from({ length: 20 }, readiness))
  assert.equal(state.looks, 1)
  state.now = 999
  assert.equal((await readiness()).length, 1)
  assert.equal(state.looks, 1)
  state.now = 1000
  await readiness()
  assert.equal(state.looks, 2)
  assert.equal(warnings.length, 1)
  free = 5
  state.now = 2000
  assert.deepEqual(await readiness(), [])
  free = 0
  state.now = 0
  assert.equal((await readiness()).length, 1, 'a clock that was set back does not keep an old answer')
  assert.equal(warnings.length, 2)
})
