import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ContainerFacts, mayOrbit, owns } from './may-orbit.ts'
import { ANYBODY, type Caller, type Grant } from './orbit.ts'
import type { Session } from './session.ts'

const session: Session = {
  accountId: 'acc-00001',
  clientId: 'cli-00001',
  userId: null,
  permissions: 'full',
  scopes: ['infrastructure', 'orbit'],
}
const somebody = (change: Partial<Session> = {}): Caller => {
  const own = { ...session, ...change }
  return { ...ANYBODY, session: own, groups: [own.accountId, `${own.accountId}:${own.clientId}`] }
}
const owner = somebody()
const storage = somebody({ permissions: 'storage', scopes: ['orbit'], clientId: 'cli-00002' })
const other = somebody({ accountId: 'acc-00002', clientId: 'cli-00003' })
const holder = (grant: Partial<Grant>): Caller => ({
  ...ANYBODY,
  grant: { accountId: 'acc-00001', container: undefined, access: 'read', ...grant },
})
const facts = (change: Partial<ContainerFacts> = {}): ContainerFacts => ({
  account: 'acc-00001',
  container: 'c',
  ...change,
})
const ACTIONS = ['make', 'change', 'remove', 'list', 'read', 'write', 'gather'] as const
const allowed = (caller: Caller, container: ContainerFacts) =>
  ACTIONS.filter((action) => mayOrbit(caller, { action, container }) === 'allowed').join(' ')

test('may orbit: an owner may everything in his account and nothing in another', () => {
  assert.equal(allowed(owner, facts()), ACTIONS.join(' '))
  assert.equal(allowed(owner, facts({ account: 'acc-00002' })), '')
  assert.equal(mayOrbit(owner, { action: 'change', account: 'acc-00001' }), 'allowed')
  assert.equal(mayOrbit(owner, { action: 'see', account: 'acc-00002' }), 'denied')
})

test('may orbit: a user of the account is an owner', () => {
  assert.equal(owns(somebody({ clientId: null, userId: 'usr-00001' }), 'acc-00001'), true)
})

test('may orbit: who has no token, no scope or storage rights only owns nothing', () => {
  for (const caller of [ANYBODY, storage, somebody({ scopes: ['infrastructure'] }), holder({})]) {
    assert.equal(owns(caller, 'acc-00001'), false)
    assert.equal(mayOrbit(caller, { action: 'see', account: 'acc-00001' }), 'denied')
    assert.equal(mayOrbit(caller, { action: 'change', account: 'acc-00001' }), 'denied')
  }
  for (const caller of [ANYBODY, storage, other]) assert.equal(allowed(caller, facts()), '')
})

test('may orbit: a storage client may what an access list names it for, and never the container itself', () => {
  const named = 'acc-00001:cli-00002'
  assert.equal(allowed(storage, facts({ read: named })), 'list read gather')
  assert.equal(allowed(storage, facts({ write: named })), 'write')
  assert.equal(allowed(storage, facts({ read: named, write: named })), 'list read write gather')
  assert.equal(allowed(storage, facts({ read: 'acc-00001', write: 'acc-00001' })), 'list read write gather')
  assert.equal(allowed(storage, facts({ read: 'acc-00001:cli-00009', write: 'acc-00002' })), '')
})

test('may orbit: another account may what an access list names it for', () => {
  assert.equal(allowed(other, facts({ read: 'acc-00002' })), 'list read gather')
  assert.equal(allowed(other, facts({ write: 'acc-00002:cli-00003' })), 'write')
})

test('may orbit: a referrer item opens objects, and listings only with their own item', () => {
  for (const caller of [ANYBODY, other, storage]) {
    assert.equal(allowed(caller, facts({ read: '.r:*' })), 'read')
    assert.equal(allowed(caller, facts({ read: '.r:*,.rlistings' })), 'list read gather')
    assert.equal(allowed(caller, facts({ read: '.rlistings' })), '')
    assert.equal(allowed(caller, facts({ write: '.r:*' })), '')
    assert.equal(allowed({ ...caller, referrer: 'thief.com' }, facts({ read: '.r:*,.r:-thief.com' })), '')
  }
})

test('may orbit: a token that is not for Orbit opens nothing, not even what is public', () => {
  const outside = somebody({ scopes: ['infrastructure'] })
  assert.equal(allowed(outside, facts({ read: '.r:*,.rlistings,acc-00001', write: 'acc-00001' })), '')
})

test('may orbit: a temporary URL bypasses access lists in its scope and nowhere else', () => {
  assert.equal(allowed(holder({}), facts()), 'read gather')
  assert.equal(allowed(holder({ container: 'c' }), facts()), 'read gather')
  assert.equal(allowed(holder({ container: 'd' }), facts()), '')
  assert.equal(allowed(holder({ accountId: 'acc-00002' }), facts()), '')
  assert.equal(allowed(holder({ access: 'write' }), facts()), 'write')
})

test('may orbit: nobody writes in a read-only container', () => {
  const images = facts({ readOnly: true, write: 'acc-00002', read: 'acc-00002' })
  assert.equal(allowed(owner, images), 'list read gather')
  assert.equal(allowed(other, images), 'list read gather')
  assert.equal(allowed(holder({ access: 'write' }), images), '')
  assert.equal(allowed(holder({}), images), 'read gather')
  assert.equal(allowed(ANYBODY, images), '')
})
