import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServerStatus } from './server.ts'
import { canChangeServer, canDo, isOffered, isThere } from './server-rules.ts'

const STATUSES = [
  'creating',
  'active',
  'inactive',
  'deleting',
  'deleted',
  'failed',
  'unavailable',
] as const satisfies readonly ServerStatus[]

test('server status: nothing comes back from deleting, deleted or failed', () => {
  for (const to of STATUSES) {
    assert.equal(canChangeServer('deleted', to), false, to)
    assert.equal(canChangeServer('deleting', to), to === 'deleted', to)
    assert.equal(canChangeServer('failed', to), to === 'deleting', to)
  }
})

test('server status: a server that was built is never creating again, and does not fail for ever', () => {
  for (const from of STATUSES) assert.equal(canChangeServer(from, 'creating'), false, from)
  for (const from of ['active', 'inactive', 'unavailable'] as const)
    assert.equal(canChangeServer(from, 'failed'), false, from)
})

test('server status: whatever exists can be destroyed, and only what is being destroyed is deleted', () => {
  for (const from of STATUSES) {
    assert.equal(canChangeServer(from, 'deleting'), from !== 'deleting' && from !== 'deleted', from)
    assert.equal(canChangeServer(from, 'deleted'), from === 'deleting', from)
    assert.equal(canDo('destroy', from), true, from)
    assert.equal(isThere(from), from !== 'deleted')
  }
})

test('server actions: what needs a running server wants active, starting wants inactive', () => {
  const allowed = (action: Parameters<typeof canDo>[0]) => STATUSES.filter((status) => canDo(action, status))
  for (const action of ['stop', 'shutdown', 'reboot', 'reset', 'console'] as const)
    assert.deepEqual(allowed(action), ['active'], action)
  assert.deepEqual(allowed('start'), ['inactive'])
  assert.deepEqual(allowed('snapshot'), ['active', 'inactive'])
  for (const action of ['update', 'lock', 'unlock'] as const)
    for (const status of ['deleting', 'deleted'] as const) assert.equal(canDo(action, status), false, action)
})

test('server types: those that are deprecated are not for new servers', () => {
  assert.deepEqual(
    (['experimental', 'available', 'deprecated'] as const).map((status) => isOffered({ status })),
    [true, true, false],
  )
})
