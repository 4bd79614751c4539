import assert from 'node:assert/strict'
import { test } from 'node:test'
import { imageRights, orbitRights, otherRights, type Word } from '../../test/support/rights-table.ts'
import type { ImageStatus } from './image.ts'
import { type ImageFacts, may, type Verdict, type Wish } from './may.ts'
import { type ContainerFacts, mayOrbit, type OrbitWish } from './may-orbit.ts'
import { ANYBODY, type Caller } from './orbit.ts'
import type { Session } from './session.ts'

const OWN = 'acc-00001'
const OTHER = 'acc-00002'

const full: Session = {
  ...{ accountId: OWN, clientId: 'cli-00001', userId: null, permissions: 'full' },
  scopes: ['infrastructure', 'orbit'],
}
const asUser = { clientId: null, userId: 'usr-00001' }
const storage: Session = { ...full, clientId: 'cli-00002', permissions: 'storage', scopes: ['orbit'] }

/** Each word of the document, and all whom it means. */
const SESSIONS: Readonly<Record<string, readonly Session[]>> = {
  full: [full, { ...full, ...asUser }],
  infrastructure: [
    { ...full, scopes: ['infrastructure'] },
    { ...full, ...asUser, scopes: ['infrastructure'] },
  ],
  storage: [storage, { ...full, clientId: 'cli-00002', scopes: ['orbit'] }],
  foreign: [
    { ...full, accountId: OTHER, clientId: 'cli-00003' },
    { ...full, accountId: OTHER, clientId: null, userId: 'usr-00003' },
  ],
  'foreign storage': [{ ...storage, accountId: OTHER, clientId: 'cli-00004' }],
}

const VERDICTS: Readonly<Record<Verdict, Word>> = { allowed: 'yes', denied: 'no', not_found: 'hidden' }

const STATUSES: readonly ImageStatus[] = [
  ...(['creating', 'available', 'deprecated', 'unavailable', 'deleting', 'deleted', 'failed'] as const),
]

/** What a name of the document's means: `private` and `public` are images that are available. */
function imageFacts(what: string): ImageFacts[] {
  const [first = '', second = first] = what.split(' ')
  const status = STATUSES.find((status) => status === first) ?? 'available'
  const open = second === 'public'
  if (status === 'deleted') return [true, false].map((open) => ({ accountId: OWN, status, public: open }))
  return [{ accountId: OWN, status, public: open }]
}

function wishesFor(what: string, action: 'see' | 'change'): Wish[] {
  switch (what) {
    case 'server':
    case 'volume':
      return [{ action, server: { accountId: OWN } }]
    case 'account':
      return [{ action, account: OWN }]
    case 'user':
      return [{ action, user: { id: 'usr-00009', accountIds: [OWN] } }]
    case 'offer':
      return [{ action: 'see', what: 'offer' }]
    default:
      return []
  }
}

test('rights: images are seen, listed, used and changed by whom the document says', () => {
  const rights = imageRights().filter(({ verb }) => verb !== 'events')
  for (const { what, verb, role, word } of rights) {
    for (const session of SESSIONS[role] ?? assert.fail(role)) {
      for (const image of imageFacts(what)) {
        const verdict = may(session, { action: verb as 'see', image })
        assert.equal(VERDICTS[verdict], word, JSON.stringify({ what, verb, role, image }))
      }
    }
  }
  for (const status of STATUSES) {
    for (const open of [true, false]) {
      const covered = rights.some(({ what }) =>
        imageFacts(what).some((image) => image.status === status && image.public === open),
      )
      assert.ok(covered, `the document says nothing of ${status}, public ${open}`)
    }
  }
})

test('rights: all else of the API is for whom the document says', () => {
  for (const { what, verb, role, word } of otherRights().filter(({ verb }) => verb !== 'events')) {
    for (const session of SESSIONS[role] ?? assert.fail(role)) {
      for (const wish of wishesFor(what, verb as 'see')) {
        assert.equal(VERDICTS[may(session, wish)], word, JSON.stringify({ what, verb, role }))
      }
      if (what !== 'own') continue
      const { accountId } = session
      for (const wish of [
        { action: verb as 'see', account: accountId },
        { action: 'create', what: 'image' },
        { action: 'create', what: 'server' },
      ] as const)
        assert.equal(VERDICTS[may(session, wish)], word, JSON.stringify({ what, verb, role, wish }))
    }
  }
})

/** What rights a client has shows in Orbit whether its token is for more or not. */
const inOrbit = (role: string): readonly Session[] => {
  if (role === 'storage') return [storage]
  const sessions = SESSIONS[role] ?? assert.fail(role)
  return role === 'full' ? [...sessions, { ...full, scopes: ['orbit'] }] : sessions
}

const callersOf = (role: string): Caller[] => {
  if (role === 'nobody') return [ANYBODY, { ...ANYBODY, referrer: 'example.com' }]
  const [access] = role.split(' url')
  if (access === 'read' || access === 'write') {
    const grant = { accountId: OWN, access } as const
    return [undefined, 'c'].map((container) => ({ ...ANYBODY, grant: { ...grant, container } }))
  }
  return inOrbit(role).map((session) => {
    const { accountId, clientId, userId } = session
    return { ...ANYBODY, session, groups: [accountId, `${accountId}:${clientId ?? userId}`] }
  })
}

const CONTAINERS: Readonly<Record<string, Partial<ContainerFacts>>> = {
  container: {},
  open: { read: '.r:*' },
  listed: { read: '.r:*,.rlistings' },
  lent: { read: OTHER, write: OTHER },
  granted: { read: `${OWN}:cli-00002`, write: `${OWN}:cli-00002` },
  images: { readOnly: true },
}

test('rights: Orbit is for whom the document says', () => {
  for (const { what, verb, role, word } of orbitRights()) {
    for (const caller of callersOf(role)) {
      const facts = CONTAINERS[what]
      const container = { account: OWN, container: 'c', ...facts }
      const wish = facts ? { action: verb, container } : { action: verb, account: OWN }
      const verdict = mayOrbit(caller, wish as OrbitWish)
      assert.equal(VERDICTS[verdict], word, JSON.stringify({ what, verb, role, caller }))
    }
  }
})
