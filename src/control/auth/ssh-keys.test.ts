import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { Session } from '#model/session.ts'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import { createAuth } from './create-auth.ts'
import { parsePublicKey, tryPublicKey } from './ssh-public-key.ts'

/** Made with ssh-keygen, which also said its fingerprint; nobody has the private half. */
const ED25519 = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJWmvHaRJnN+80WjqAD77Hdycq40nFs7Xp48UXjk+56I jo@laptop'
const FINGERPRINT = 'SHA256:Oy5h5rtZEdGkzFto3AmI2ifQ2Gq2hLfal7VSORw4cbM'

const string = (bytes: Uint8Array | string) => {
  const field = Buffer.from(bytes as string)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(field.length)
  return Buffer.concat([length, field])
}

/** A line of the type, with these fields behind it. */
const lineOf = (type: string, ...fields: (Uint8Array | string)[]) =>
  `${type} ${Buffer.concat([type, ...fields].map(string)).toString('base64')}`

const number = (bits: number) => {
  const bytes = randomBytes(bits / 8)
  bytes[0] = 0x80 | (bytes[0] ?? 0)
  return Buffer.concat([Buffer.of(0), bytes])
}
const point = (size: number) => Buffer.concat([Buffer.of(4), randomBytes(2 * size)])
const newLine = () => lineOf('ssh-ed25519', randomBytes(32))

test('public keys: every type that is let in is read, with the comment behind it', () => {
  const lines = [
    lineOf('ssh-ed25519', randomBytes(32)),
    lineOf('ecdsa-sha2-nistp256', 'nistp256', point(32)),
    lineOf('ecdsa-sha2-nistp384', 'nistp384', point(48)),
    lineOf('ecdsa-sha2-nistp521', 'nistp521', point(66)),
    lineOf('ssh-rsa', Buffer.of(1, 0, 1), number(2048)),
    lineOf('ssh-rsa', Buffer.of(3), number(16_384)),
    lineOf('sk-ssh-ed25519@openssh.com', randomBytes(32), 'ssh:'),
    lineOf('sk-ecdsa-sha2-nistp256@openssh.com', 'nistp256', point(32), 'ssh:'),
  ]
  for (const line of lines) {
    const key = parsePublicKey(`  ${line}\t jo's  laptop \r\n`)
    assert.equal(`${key.type} ${key.blob}`, line)
    assert.equal(key.comment, "jo's laptop")
    assert.match(key.fingerprint, /^SHA256:[A-Za-z0-9+/]{43}$/)
  }
})

test('public keys: the fingerprint is the one that ssh-keygen prints', () => {
  assert.equal(parsePublicKey(ED25519).fingerprint, FINGERPRINT)
})

test('public keys: what is no good says why, and never what it was', () => {
  const rsa = lineOf('ssh-rsa', Buffer.of(1, 0, 1), number(2048))
  const cases: [RegExp, string][] = [
    [/must begin with one of/, ''],
    [/must begin with one of/, 'hello'],
    [/must begin with one of/, `command="ls" ${ED25519}`],
    [/must begin with one of/, 'constructor AAAA'],
    [/private/, '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\n-----END OPENSSH PRIVATE KEY-----'],
    [/private/, 'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none'],
    [/form of OpenSSH/, '---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----'],
    [/DSA/, lineOf('ssh-dss', number(1024))],
    [/certificate/, lineOf('ssh-ed25519-cert-v01@openssh.com', 'x')],
    [/one line/, `${ED25519}\n${rsa}`],
    [/1024 bits/, lineOf('ssh-rsa', Buffer.of(1, 0, 1), number(1024))],
    [/2040 bits/, lineOf('ssh-rsa', Buffer.of(1, 0, 1), number(2040))],
    [/damaged/, lineOf('ssh-rsa', Buffer.of(1, 0, 1), number(16_392))],
    [/damaged/, lineOf('ssh-rsa', Buffer.of(2), number(2048))],
    [/damaged/, lineOf('ssh-rsa', Buffer.of(1, 0, 1), randomBytes(0))],
    [/damaged/, 'ssh-ed25519'],
    [/damaged/, 'ssh-ed25519 AAAA'],
    [/damaged/, 'ssh-ed25519 !!!!'],
    [/damaged/, ED25519.replace('AAAAC3', 'AAAA*C3')],
    [/damaged/, `ssh-ed25519 ${rsa.split(' ')[1]}`],
    [/damaged/, lineOf('ssh-ed25519', randomBytes(31))],
    [/damaged/, lineOf('ssh-ed25519', randomBytes(32), 'more')],
    [/damaged/, `${lineOf('ssh-ed25519', randomBytes(32)).replace(/=+$/, '')}AAAA`],
    [/damaged/, lineOf('ecdsa-sha2-nistp256', 'nistp384', point(32))],
    [/damaged/, lineOf('ecdsa-sha2-nistp256', 'nistp256', Buffer.concat([Buffer.of(2), randomBytes(64)]))],
    [/damaged/, lineOf('sk-ssh-ed25519@openssh.com', randomBytes(32))],
    [/at most 16384/, `ssh-ed25519 ${'A'.repeat(20_000)}`],
  ]
  for (const [message, line] of cases) {
    assert.throws(() => parsePublicKey(line), { code: 'invalid', message }, line.slice(0, 60))
    assert.equal(tryPublicKey(line), undefined)
  }
  for (const length of [0, 1, 4, 5, 15, 50]) {
    const blob = Buffer.from(ED25519.split(' ')[1] ?? '', 'base64').subarray(0, length)
    assert.throws(() => parsePublicKey(`ssh-ed25519 ${blob.toString('base64')}`), /damaged/, String(length))
  }
})

async function setUp() {
  const catalog = await openTestCatalog()
  const auth = createAuth({ catalog, now: Date.now })
  const [own, foreign] = [await account('Own'), await account('Foreign')]
  async function account(name: string) {
    const { id } = await auth.operator.createAccount({ name })
    const { client } = await auth.operator.createClient(id, {})
    const email = `${name}@example.com`
    const user = await auth.operator.createUser({ name, email, password: 'long enough', accountIds: [id] })
    const base = { accountId: id, permissions: 'full', scopes: ['infrastructure', 'orbit'] } as const
    const clientSession: Session = { ...base, clientId: client.id, userId: null }
    const userSession: Session = { ...base, clientId: null, userId: user.id }
    return { id, clientId: client.id, userId: user.id, clientSession, userSession }
  }
  const close = () => catalog[Symbol.asyncDispose]()
  return { auth, catalog, own, foreign, [Symbol.asyncDispose]: close }
}

test("SSH keys: a user manages his own and those of the account's clients, a client only the latter", async () => {
  await using at = await setUp()
  const { auth, own } = at
  const users = await auth.keys.add(own.userSession, { line: ED25519 })
  assert.equal(users.ownerId, own.userId)
  assert.equal(users.name, 'jo@laptop')
  const clients = await auth.keys.add(own.userSession, { line: ED25519, clientId: own.clientId, name: 'ci' })
  const byItself = await auth.keys.add(own.clientSession, { line: newLine() })
  assert.deepEqual([clients.ownerId, byItself.ownerId], [own.clientId, own.clientId])
  assert.deepEqual([clients.name, byItself.name], ['ci', null])
  const ids = async (session: Session) => (await auth.keys.list(session)).map(({ id }) => id).sort()
  assert.deepEqual(await ids(own.userSession), [users.id, clients.id, byItself.id].sort())
  assert.deepEqual(await ids(own.clientSession), [clients.id, byItself.id].sort())
  await assert.rejects(auth.keys.show(own.clientSession, users.id), { code: 'not_found' })
  assert.deepEqual(await auth.keys.remove(own.userSession, clients.id), clients)
  await assert.rejects(auth.keys.remove(own.userSession, clients.id), { code: 'not_found' })
  assert.deepEqual(await auth.keys.show(own.userSession, users.id), users)
})

test('SSH keys: those of another account do not exist, and none can be given to its people', async () => {
  await using at = await setUp()
  const { auth, own, foreign } = at
  const key = await auth.keys.add(foreign.userSession, { line: ED25519 })
  const clients = await auth.keys.add(foreign.clientSession, { line: ED25519 })
  for (const { id } of [key, clients]) {
    await assert.rejects(auth.keys.show(own.userSession, id), { code: 'not_found' })
    await assert.rejects(auth.keys.remove(own.userSession, id), { code: 'not_found' })
  }
  for (const clientId of [foreign.clientId, foreign.userId, 'cli-zzzzz', '']) {
    const adding = auth.keys.add(own.userSession, { line: newLine(), clientId })
    await assert.rejects(adding, { code: 'not_found' }, clientId)
  }
  assert.deepEqual(await auth.keys.list(own.userSession), [])
})

test('SSH keys: sessions for storage and for Orbit alone may not touch them', async () => {
  await using at = await setUp()
  const { auth, own } = at
  const { id } = await auth.keys.add(own.userSession, { line: ED25519 })
  const less: Session[] = [
    { ...own.clientSession, permissions: 'storage' },
    { ...own.userSession, scopes: ['orbit'] },
  ]
  for (const session of less) {
    await assert.rejects(auth.keys.list(session), { code: 'denied' })
    await assert.rejects(auth.keys.show(session, id), { code: 'denied' })
    await assert.rejects(auth.keys.add(session, { line: newLine() }), { code: 'denied' })
    await assert.rejects(auth.keys.remove(session, id), { code: 'denied' })
  }
})

test('SSH keys: an owner has each once and a hundred at most, names are checked', async () => {
  await using at = await setUp()
  const { auth, own } = at
  const session = own.userSession
  const { id } = await auth.keys.add(session, { line: ED25519 })
  const again = auth.keys.add(session, { line: `${ED25519} again`, name: 'other' })
  await assert.rejects(again, { code: 'conflict', message: new RegExp(id) })
  await assert.rejects(auth.keys.add(session, { line: newLine(), name: 'a\nb' }), { code: 'invalid' })
  const both = await Promise.allSettled([1, 2].map(() => auth.keys.add(own.clientSession, { line: ED25519 })))
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  for (let count = 1; count < 100; count++) await auth.keys.add(session, { line: newLine() })
  await assert.rejects(auth.keys.add(session, { line: newLine() }), { code: 'conflict', message: /100 keys/ })
})

test('SSH keys: those of a revoked client are no longer listed', async () => {
  await using at = await setUp()
  const { auth, own } = at
  await auth.keys.add(own.clientSession, { line: ED25519 })
  await auth.clients.revoke(own.userSession, own.clientId)
  assert.deepEqual(await auth.keys.list(own.userSession), [])
})
