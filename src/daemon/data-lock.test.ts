import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { lockDataFolder } from './data-lock.ts'

const folder = mkdtempSync(join(tmpdir(), 'data-lock-'))
after(() => rmSync(folder, { recursive: true }))

test('locks: a folder that is served is refused until that has ended', () => {
  const first = lockDataFolder(folder)
  assert.throws(() => lockDataFolder(folder), { code: 'conflict', message: /another process serves/ })
  first[Symbol.dispose]()
  lockDataFolder(folder)[Symbol.dispose]()
})
