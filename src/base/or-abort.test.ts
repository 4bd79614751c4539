import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { orAbort } from './or-abort.ts'

test('orAbort: an aborted signal wins over work that is done, and nothing stays listening', async () => {
  const controller = new AbortController()
  assert.equal(await orAbort(Promise.resolve(7), controller.signal), 7)
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  controller.abort(new Error('gone'))
  await assert.rejects(orAbort(Promise.resolve(7), controller.signal), /gone/)
})
