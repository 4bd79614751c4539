import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { needs } from './support/tools.ts'

test('demo: every download has the bytes of the image', needs('lz4', 'qemu-img', 'sftp'), async () => {
  // It ends with another code than 0, and this rejects, where one has not.
  const { stdout } = await promisify(execFile)(process.execPath, [
    join(import.meta.dirname, '../tools/demo.ts'),
  ])
  assert.equal(stdout.match(/ as published$/gm)?.length, 4)
  assert.equal(stdout.trimEnd().split('\n').at(-1), 'Done: what came back is what was published.')
})
