import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { connectDecoder, createDecoderHost } from './decoder-host.ts'

test('decoder host: a folder that cannot be opened is "unavailable"', () => {
  assert.throws(() => createDecoderHost('/nowhere'), { code: 'unavailable' })
})

test('decoder host: a process that the system refuses to start at once ends its connection and says why', async () => {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'decoders-'))
  stack.defer(() => rm(folder, { recursive: true }))
  const cause = Object.assign(new Error('spawn ENOMEM'), { code: 'ENOMEM', syscall: 'spawn' })
  const host = createDecoderHost(folder, {
    get cpuSeconds(): number {
      throw cause
    },
  })
  const connection = connectDecoder(host.address).on('error', () => {})
  await once(connection.resume(), 'close')
  const reason = await host.close()
  assert.ok(reason instanceof LibraryError)
  assert.equal(reason.code, 'unavailable')
  assert.equal(reason.cause, cause)
})
