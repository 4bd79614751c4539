import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServerStatus } from './server.ts'
import { canDo, isOffered } from './server-rules.ts'

const STATUSES = [
  'creating',
  'active',
  'inactive',
  'deleting',
  'deleted',
  'failed',
] as const satisfies readonly ServerStatus[]

test('server actions: whatever there is of a server can be destroyed, and twice is once', () => {
  for (const status of STATUSES) assert.equal(canDo('destroy', status), true, status)
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
