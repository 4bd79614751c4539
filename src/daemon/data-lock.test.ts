import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { lockCollection, lockDataFolder } from './data-lock.ts'

const folder = mkdtempSync(join(tmpdir(), 'data-lock-'))
after(() => rmSync(folder, { recursive: true }))

test('locks: a second collection is refused until the first has ended', () => {
  const first = lockCollection(folder)
  assert.throws(() => lockCollection(folder), {
    code: 'conflict',
    message: /another collection .* is under way/,
  })
  first[Symbol.dispose]()
  lockCollection(folder)[Symbol.dispose]()
})

test('locks: a library that serves the folder does not keep a collection out', () => {
  using _served = lockDataFolder(folder)
  assert.throws(() => lockDataFolder(folder), { code: 'conflict' })
  lockCollection(folder)[Symbol.dispose]()
})
