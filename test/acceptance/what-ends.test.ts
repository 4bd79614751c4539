import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { sql } from 'kysely'
import ssh2 from 'ssh2'
import type { AuthResult } from '#control/auth/auth.ts'
import { ask, connectTo, goData, greet } from '#edge/nbd/nbd.fixtures.ts'
import { OPTION, REPLY } from '#edge/nbd/protocol.ts'
import { inCatalog } from '../support/library-place.ts'
import { send, sftpPort } from '../support/orbit.ts'
import { endings } from '../support/rights-table.ts'
import { openRightsWorld, type RightsWorld, signUrl } from '../support/rights-world.ts'

const APPLICATION = { id: 'app-12345', secret: 'mocbuipbiaa6k6c' }
const PASSWORD = 'correct horse battery'
const TEMP_KEY = 'a key for temporary URLs'

let world: RightsWorld

before(async () => {
  world = await openRightsWorld({ 'nbd.listen': '127.0.0.1:0' })
})
after(() => world[Symbol.asyncDispose]())

/** Somebody on an account of his own, to whom something happens. */
interface Victim {
  readonly account: string
  readonly id: string
  readonly token: string
  readonly login: { readonly username: string; readonly password?: string; readonly privateKey?: string }
  readonly happen: () => unknown
}

const granted = <T>(result: AuthResult<T>): T => (result.ok ? result.value : assert.fail(result.description))

const addAccount = async (name: string) => (await world.auth.operator.createAccount({ name })).id

async function clientWith(happen: (client: Omit<Victim, 'happen'>) => unknown): Promise<Victim> {
  const account = await addAccount('victim')
  const { client, secret } = await world.auth.operator.createClient(account, {})
  const token = await world.tokenOf({ id: client.id, secret })
  const login = { username: client.id, password: secret }
  const victim = { account, id: client.id, token, login }
  return { ...victim, happen: () => happen(victim) }
}

let users = 0
/** Of two accounts; what happens is about the second one. */
async function userWith(
  happen: (user: Omit<Victim, 'happen'> & { readonly email: string }) => unknown,
): Promise<Victim> {
  const accountIds = [await addAccount('first'), await addAccount('victim')]
  const account = accountIds[1] ?? ''
  const email = `victim-${++users}@example.org`
  const attributes = { name: 'V', email, password: PASSWORD, accountIds }
  const { id } = await world.auth.operator.createUser(attributes)
  const wish = { grantType: 'password', username: id, password: PASSWORD }
  const { accessToken: token } = granted(await world.auth.issue(APPLICATION, wish))
  const victim = { account, id, token, login: { username: `${account}:${id}`, password: PASSWORD } }
  return { ...victim, happen: () => happen({ ...victim, email }) }
}

const ask200 = async (token: string, method: string, path: string, body?: unknown) => {
  const { status, text } = await world.api(token, method, path, body)
  assert.ok(status < 300, `${method} ${path}: ${status} ${text}`)
  return JSON.parse(text)
}

async function withKey(): Promise<Victim> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = privateKey.export({ type: 'pkcs1', format: 'pem' }).toString()
  const parsed = ssh2.utils.parseKey(pem)
  assert.ok(!(parsed instanceof Error))
  const line = `ssh-rsa ${parsed.getPublicSSH().toString('base64')}`
  let key = ''
  const victim = await clientWith(({ token }) => ask200(token, 'DELETE', `/1.0/ssh_keys/${key}`))
  key = (await ask200(victim.token, 'POST', '/1.0/ssh_keys', { public_key: line })).id
  return { ...victim, login: { username: victim.id, privateKey: pem } }
}

const CHANGES: Readonly<Record<string, () => Promise<Victim>>> = {
  'account suspended': () =>
    clientWith(({ account }) => world.auth.operator.setAccountStatus(account, 'suspended')),
  'client revoked': () => clientWith(({ id, token }) => ask200(token, 'DELETE', `/1.0/api_clients/${id}`)),
  'secret reset': () =>
    clientWith(({ id, token }) => ask200(token, 'POST', `/1.0/api_clients/${id}/reset_secret`)),
  'client made a storage one': () =>
    clientWith(({ id, token }) =>
      ask200(token, 'PUT', `/1.0/api_clients/${id}`, { permissions_group: 'storage' }),
    ),
  'password changed': () =>
    userWith(({ token }) => ask200(token, 'PUT', '/1.0/user', { password: 'another long password' })),
  'membership taken away': () =>
    userWith(({ account, email }) => world.auth.operator.removeUser(email, account)),
  'user removed': () => userWith(({ email }) => world.auth.operator.removeUser(email)),
  'SSH key removed': withKey,
  "temporary URL's key changed": () =>
    clientWith(({ account, token }) =>
      send('POST', `${world.daemon.url}/v1/${account}`, {
        headers: { 'x-auth-token': token, 'x-account-meta-temp-url-key': 'another' },
      }),
    ),
  'token expired': () =>
    clientWith(({ id }) =>
      inCatalog(world.daemon.data, sql`update tokens set expires_at = 1 where client_id = ${id}`),
    ),
}

/** Something open: what it is, whether it still works, and when it has ended. */
interface Opened extends Disposable {
  readonly works: () => Promise<boolean>
  readonly ended?: Promise<unknown>
}

async function openStream(token: string, query: string): Promise<Opened> {
  const headers = { authorization: `Bearer ${token}`, accept: 'text/event-stream' }
  const request = get(`${world.daemon.url}/1.0/events${query}`, { headers })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  assert.equal(response.statusCode, 200)
  response.on('error', () => {}).resume()
  const ended = new Promise<void>((resolve) => response.once('close', () => resolve()))
  return {
    ended,
    works: async () => !response.closed,
    [Symbol.dispose]: () => void response.destroy(),
  }
}

async function openSftp({ login }: Victim): Promise<Opened> {
  const client = new ssh2.Client()
  let isOpen = true
  const ended = new Promise<void>((resolve) => client.once('close', () => resolve())).then(() => {
    isOpen = false
  })
  client.on('error', () => {})
  client.connect({ host: '127.0.0.1', port: sftpPort(world.daemon), ...login })
  await once(client, 'ready')
  const sftp = await promisify(client.sftp.bind(client))()
  const list = promisify<string, unknown>(sftp.readdir.bind(sftp))
  return {
    ended,
    // What is asked of a connection that is gone is never answered.
    works: async () => isOpen && (await list('/')) !== undefined,
    [Symbol.dispose]: () => void client.destroy(),
  }
}

async function openNbd({ token, account }: Victim): Promise<Opened> {
  const image = await world.addImage('private', { accountId: account })
  const port = Number(/nbd:\/\/127\.0\.0\.1:([1-9]\d*)/.exec(world.daemon.output())?.[1])
  const client = await connectTo({ host: '127.0.0.1', port })
  const ended = new Promise<void>((resolve) => client.socket.once('close', () => resolve()))
  await greet(client)
  const answers = await ask(client, OPTION.go, goData(`${token}/${image}`))
  assert.equal(answers.at(-1)?.reply, REPLY.ack)
  return {
    ended,
    works: async () => !client.socket.closed,
    [Symbol.dispose]: () => client[Symbol.dispose](),
  }
}

/** Of a server that has no QEMU: who has a good token is told so. */
async function openConsole({ token, account }: Victim, query: string): Promise<Opened> {
  const { server } = await world.addServer('active', false, account)
  const { console_token: password } = await ask200(
    token,
    'POST',
    `/1.0/servers/${server}/activate_console${query}`,
  )
  const headers = {
    ...{ connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' },
    'sec-websocket-key': Buffer.alloc(16).toString('base64'),
  }
  const url = `${world.daemon.url}/console/${server}/serial?password=${password}`
  const works = async () => {
    const { status } = await send('GET', url, { headers })
    assert.ok(status === 409 || status === 404 || status === 429, String(status))
    return status === 409
  }
  return { works, [Symbol.dispose]: () => {} }
}

async function openTempUrl({ token, account }: Victim): Promise<Opened> {
  const storage = `${world.daemon.url}/v1/${account}`
  const put = (method: string, path: string, headers: Record<string, string> = {}) =>
    send(method, `${storage}${path}`, { headers: { 'x-auth-token': token, ...headers }, body: '' })
  for (const { status } of [
    await put('POST', '', { 'x-account-meta-temp-url-key': TEMP_KEY }),
    await put('PUT', '/c'),
    await put('PUT', '/c/o'),
  ])
    assert.ok(status < 300, String(status))
  const url = `${world.daemon.url}${signUrl(TEMP_KEY, 'GET', `/v1/${account}/c/o`)}`
  return { works: async () => (await send('GET', url)).status === 200, [Symbol.dispose]: () => {} }
}

async function openAll(victim: Victim): Promise<Readonly<Record<string, Opened>>> {
  const query = victim.id.startsWith('usr') ? `?account_id=${victim.account}` : ''
  // Nothing that anybody needs a right for, but a token.
  const isGood = async () =>
    (await world.api(victim.token, 'GET', `/1.0/collaborations${query}`)).status === 200
  return {
    tokens: { works: isGood, [Symbol.dispose]: () => {} },
    'temporary URL': await openTempUrl(victim),
    'event stream': await openStream(victim.token, query),
    SFTP: await openSftp(victim),
    'console and its token': await openConsole(victim, query),
    NBD: await openNbd(victim),
  }
}

for (const [change, begin] of Object.entries(CHANGES)) {
  test(`${change}: ends what docs/rights.md says, and nothing else`, async () => {
    const victim = await begin()
    using opened = new DisposableStack()
    const all = await openAll(victim)
    for (const one of Object.values(all)) opened.use(one)
    for (const [name, one] of Object.entries(all)) assert.ok(await one.works(), `${name} is open`)
    const witness = await clientWith(({ id, token }) => ask200(token, 'DELETE', `/1.0/api_clients/${id}`))
    const watched = opened.use(await openStream(witness.token, ''))
    await victim.happen()
    // Who came last, and whose rights ended last, is looked at after everybody else.
    await witness.happen()
    await watched.ended
    const expected = endings().filter((row) => row.change === change)
    assert.equal(expected.length, Object.keys(all).length)
    for (const { opened: name, ends } of expected) {
      const one = all[name] ?? assert.fail(name)
      if (ends) await one.ended
      assert.equal(await one.works(), !ends, name)
    }
  })
}

test('every change of the document is tried', () => {
  assert.deepEqual([...new Set(endings().map(({ change }) => change))].sort(), Object.keys(CHANGES).sort())
})
