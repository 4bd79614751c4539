import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ROLES, roles } from './roles.ts'

test('roles: all by default, and any of them in any order', () => {
  assert.deepEqual([...(roles.parse(roles.byDefault)?.value ?? [])], [...ROLES])
  assert.deepEqual([...(roles.parse('worker,api')?.value ?? [])], ['api', 'worker'])
  assert.deepEqual([...(roles.parse(' sftp  sftp ')?.value ?? [])], ['sftp'])
})

test('roles: none, and what is none, are refused', () => {
  for (const text of ['', ' , ', 'apis', 'api, all', 'API', 'toString'])
    assert.equal(roles.parse(text), undefined, text)
})
