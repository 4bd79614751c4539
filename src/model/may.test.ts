import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ImageStatus } from './image.ts'
import { may } from './may.ts'
import type { Session } from './session.ts'

const owner: Session = {
  accountId: 'acc-00001',
  clientId: 'cli-00001',
  userId: null,
  permissions: 'full',
  scopes: ['infrastructure', 'orbit'],
}
const other: Session = { ...owner, accountId: 'acc-00002', clientId: 'cli-00002' }
const image = (status: ImageStatus, open = false) => ({ accountId: owner.accountId, status, public: open })
const ACTIONS = ['see', 'list', 'use', 'change'] as const
const verdicts = (session: Session, facts: ReturnType<typeof image>) =>
  ACTIONS.map((action) => may(session, { action, image: facts })).join(' ')

test('may: a private image does not exist for others, whatever its status', () => {
  for (const status of ['creating', 'available', 'deprecated', 'failed', 'deleting'] as const) {
    assert.equal(verdicts(other, image(status)), 'not_found not_found not_found not_found', status)
    assert.equal(verdicts(owner, image(status)), 'allowed allowed allowed allowed', status)
  }
})

test('may: a public image can be seen, listed and used by others, and changed only by its owner', () => {
  assert.equal(verdicts(other, image('available', true)), 'allowed allowed allowed denied')
})

test('may: a deprecated public image is usable by id but not listed for others', () => {
  assert.equal(verdicts(other, image('deprecated', true)), 'allowed denied allowed denied')
  assert.equal(verdicts(owner, image('deprecated', true)), 'allowed allowed allowed allowed')
})

test("may: the making, failing and ending of a public image is its owner's business", () => {
  for (const status of ['creating', 'failed', 'deleting', 'unavailable'] as const) {
    assert.equal(verdicts(other, image(status, true)), 'not_found not_found not_found not_found', status)
  }
})

test('may: a deleted image exists for nobody', () => {
  assert.equal(verdicts(owner, image('deleted', true)), 'not_found not_found not_found not_found')
})

test('may: a session for storage only reads the bytes of its own images and nothing else', () => {
  const storage: Session = { ...owner, permissions: 'storage', scopes: ['orbit'] }
  assert.equal(verdicts(storage, image('available')), 'denied denied allowed denied')
  assert.equal(
    verdicts({ ...storage, accountId: other.accountId }, image('available', true)),
    'denied denied denied denied',
  )
  assert.equal(may(storage, { action: 'create', what: 'image' }), 'denied')
  assert.equal(may(storage, { action: 'see', account: owner.accountId }), 'denied')
  assert.equal(may(storage, { action: 'see', what: 'offer' }), 'denied')
})

test('may: a token with only the scope orbit is like one for storage', () => {
  const narrow: Session = { ...owner, scopes: ['orbit'] }
  assert.equal(verdicts(narrow, image('available')), 'denied denied allowed denied')
})

test('may: a token with only the scope infrastructure may do all that concerns images', () => {
  assert.equal(
    verdicts({ ...owner, scopes: ['infrastructure'] }, image('available')),
    'allowed allowed allowed allowed',
  )
})

test('may: other accounts, and users that share none, do not exist', () => {
  assert.equal(may(owner, { action: 'see', account: other.accountId }), 'not_found')
  assert.equal(
    may(owner, { action: 'see', user: { id: 'usr-00009', accountIds: [other.accountId] } }),
    'not_found',
  )
})

test('may: what does not exist for a session is not denied to it, whatever its permissions', () => {
  const storage: Session = { ...owner, permissions: 'storage', scopes: ['orbit'] }
  const near = { id: 'usr-00001', accountIds: [owner.accountId] }
  const far = { id: 'usr-00009', accountIds: [other.accountId] }
  for (const action of ['see', 'change'] as const) {
    assert.equal(may(storage, { action, account: other.accountId }), 'not_found')
    assert.equal(may(storage, { action, user: far }), 'not_found')
    assert.equal(may(storage, { action, user: near }), 'denied')
  }
})

test('may: a user is seen by those who share his account and changed by himself alone', () => {
  const user = { id: 'usr-00001', accountIds: [owner.accountId] }
  assert.equal(may(owner, { action: 'see', user }), 'allowed')
  assert.equal(may(owner, { action: 'change', user }), 'denied')
  assert.equal(may({ ...owner, clientId: null, userId: user.id }, { action: 'change', user }), 'allowed')
})

test('may: servers and volumes are for their account alone, and for nobody with storage only', () => {
  const storage: Session = { ...owner, permissions: 'storage', scopes: ['orbit'] }
  const narrow: Session = { ...owner, scopes: ['orbit'] }
  const server = { accountId: owner.accountId }
  for (const action of ['see', 'change'] as const) {
    assert.equal(may(other, { action, server }), 'not_found')
    assert.equal(may({ ...storage, accountId: other.accountId }, { action, server }), 'not_found')
    assert.equal(may(storage, { action, server }), 'denied')
    assert.equal(may(narrow, { action, server }), 'denied')
    assert.equal(may(owner, { action, server }), 'allowed')
    assert.equal(may({ ...owner, scopes: ['infrastructure'] }, { action, server }), 'allowed')
  }
  assert.equal(may(storage, { action: 'create', what: 'server' }), 'denied')
  assert.equal(may(narrow, { action: 'create', what: 'server' }), 'denied')
  assert.equal(may(owner, { action: 'create', what: 'server' }), 'allowed')
})
