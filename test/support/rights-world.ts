import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { Agent } from 'node:http'
import { sql } from 'kysely'
import type { Auth } from '#control/auth/auth.ts'
import { createAuth } from '#control/auth/create-auth.ts'
import { type Catalog, openCatalog } from '#control/catalog/catalog.ts'
import type { Image, ImageStatus } from '#model/image.ts'
import type { ServerStatus } from '#model/server.ts'
import { type Daemon, startDaemon } from './daemon.ts'
import { fakeServer, fakeVolume, storedImage } from './fake-servers.ts'
import { inCatalog, libraryPlaceAt } from './library-place.ts'
import { send } from './orbit.ts'

const APPLICATION = { id: 'app-12345', secret: 'mocbuipbiaa6k6c' }
const PASSWORD = 'correct horse battery staple'
const HOUR = 3600_000

/** Somebody with a token, and the word by which docs/rights.md knows him. */
export interface Actor {
  readonly name: string
  /** In the tables of the API. */
  readonly role: string
  /** In the table of Orbit. */
  readonly orbitRole: string
  readonly token: string
  readonly isUser: boolean
  /** The account that he asks about, where it is not his first one. */
  readonly accountId?: string
}

/** A running daemon with an account, strangers, and things of the account in every state. */
export interface RightsWorld extends AsyncDisposable {
  readonly daemon: Daemon
  readonly catalog: Catalog
  readonly auth: Auth
  readonly account: string
  readonly foreign: string
  readonly actors: readonly Actor[]
  /** Tokens that let nobody in, by what they are. */
  readonly dead: Readonly<Record<string, string>>
  /** Of a client of an account that is suspended. */
  readonly suspendedToken: string
  readonly suspended: string
  readonly revoked: { readonly id: string; readonly secret: string; readonly token: string }
  readonly clients: Readonly<
    Record<'full' | 'storage' | 'foreign' | 'foreignStorage' | 'suspended', { id: string; secret: string }>
  >
  tokenOf(client: { readonly id: string; readonly secret: string }): Promise<string>
  readonly user: { readonly id: string; readonly email: string; readonly password: string }
  /** An image that everybody may use. */
  readonly publicImage: string
  /** Of an image with bytes. */
  readonly manifest: string
  /** Makes an image in a state as docs/rights.md names it. */
  addImage(what: string, change?: Partial<Image>): Promise<string>
  /** A server, of which there is nothing but its row, and its volume. */
  addServer(
    status: ServerStatus,
    locked?: boolean,
    accountId?: string,
  ): Promise<{ server: string; volume: string }>
  addUser(): Promise<string>
  addClient(): Promise<string>
  addKey(): Promise<string>
  setStatus(account: string, status: 'active' | 'suspended' | 'closed'): Promise<unknown>
  api(token: string | undefined, method: string, path: string, body?: unknown): Promise<ApiAnswer>
}

export interface ApiAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** A signature for a path of Orbit, by a key. */
export function signUrl(key: string, method: string, path: string): string {
  const expires = Math.floor(Date.now() / 1000) + 600
  const signature = createHmac('sha256', key).update(`${method}\n${expires}\n${path}`).digest('hex')
  return `${path}?temp_url_sig=${signature}&temp_url_expires=${expires}`
}

export async function openRightsWorld(settings: Readonly<Record<string, string>> = {}): Promise<RightsWorld> {
  await using opened = new AsyncDisposableStack()
  const daemon = opened.use(
    await startDaemon({
      settings: { 'servers.accelerator': 'tcg', ...settings },
      arguments: ['--sftp', '127.0.0.1:0'],
    }),
  )
  const catalog = opened.use(await openCatalog((await libraryPlaceAt(daemon.data)).catalog))
  const auth = createAuth({ catalog, now: Date.now })
  const people = await addPeople(auth, catalog)
  const setStatus = (account: string, status: string) =>
    inCatalog(daemon.data, sql`update accounts set status = ${status} where id = ${account}`)
  await setStatus(people.suspended, 'suspended')
  const manifest = await uploadImage(daemon, people.actors[0]?.token ?? '')
  const things = thingsOf({ catalog, auth, account: people.account, manifest })
  const publicImage = await things.addImage('public')
  const agent = new Agent({ keepAlive: true })
  opened.defer(() => agent.destroy())
  const closing = opened.move()
  return {
    ...{ publicImage, daemon, catalog, auth, manifest, setStatus },
    ...people,
    ...things,
    async api(token, method, path, body) {
      const { status, headers, text } = await send(method, `${daemon.url}${path}`, {
        agent,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          'content-type': path.endsWith('/upload') ? 'application/octet-stream' : 'application/json',
        },
        body: body === undefined ? '' : JSON.stringify(body),
      })
      return { status, headers, text }
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  }
}

async function addPeople(auth: Auth, catalog: Catalog) {
  const [account, foreign, suspended] = await Promise.all(
    ['own', 'foreign', 'suspended'].map(async (name) => (await auth.operator.createAccount({ name })).id),
  )
  assert.ok(account && foreign && suspended)
  const client = async (accountId: string, permissions: 'full' | 'storage' = 'full') => {
    const { client, secret } = await auth.operator.createClient(accountId, { permissions })
    return { id: client.id, secret }
  }
  const tokenOf = async (who: { id: string; secret: string }, scope?: string, of = auth) =>
    granted(await of.issue(who, { grantType: 'client_credentials', scope })).accessToken
  const email = 'jo@example.org'
  const user = await auth.operator.createUser({
    name: 'Jo',
    email,
    password: PASSWORD,
    accountIds: [account],
  })
  const shared = await auth.operator.createUser({
    ...{ name: 'Sam', email: 'sam@example.org', password: PASSWORD, accountIds: [foreign, account] },
  })
  const stranger = await auth.operator.createUser({
    ...{ name: 'Al', email: 'al@example.org', password: PASSWORD, accountIds: [foreign] },
  })
  const login = async (username: string, scope?: string) =>
    granted(await auth.issue(APPLICATION, { grantType: 'password', username, password: PASSWORD, scope }))
  const clients = {
    full: await client(account),
    storage: await client(account, 'storage'),
    foreign: await client(foreign),
    foreignStorage: await client(foreign, 'storage'),
    suspended: await client(suspended),
  }
  const jo = await login(user.email)
  const actor = (name: string, role: string, token: string, more: Partial<Actor> = {}): Actor => ({
    ...{ name, role, orbitRole: role, token, isUser: false },
    ...more,
  })
  const past = createAuth({ catalog, now: () => Date.now() - 3 * HOUR })
  const gone = await client(account)
  const revoked = { ...gone, token: await tokenOf(gone) }
  await catalog.apiClients.update(gone.id, { revokedAt: Date.now() })
  const { full, storage } = clients
  return {
    ...{ account, foreign, suspended, clients, revoked, tokenOf },
    user: { id: user.id, email, password: PASSWORD },
    suspendedToken: await tokenOf(clients.suspended),
    actors: [
      actor('client', 'full', await tokenOf(full)),
      actor('user', 'full', jo.accessToken, { isUser: true }),
      actor('member of two accounts', 'full', (await login(shared.email)).accessToken, {
        ...{ isUser: true, accountId: account },
      }),
      actor('infrastructure', 'infrastructure', await tokenOf(full, 'infrastructure')),
      actor('orbit', 'storage', await tokenOf(full, 'orbit'), { orbitRole: 'full' }),
      actor('user for orbit', 'storage', (await login(user.email, 'orbit')).accessToken, {
        ...{ isUser: true, orbitRole: 'full' },
      }),
      actor('storage client', 'storage', await tokenOf(storage)),
      actor('foreign client', 'foreign', await tokenOf(clients.foreign)),
      actor('foreign user', 'foreign', (await login(stranger.email)).accessToken, { isUser: true }),
      actor('foreign storage', 'foreign storage', await tokenOf(clients.foreignStorage)),
    ],
    dead: {
      unknown: randomBytes(20).toString('hex'),
      malformed: 'x',
      revoked: revoked.token,
      expired: await tokenOf(full, undefined, past),
      refresh: jo.refreshToken ?? assert.fail('no refresh token'),
    },
  }
}

function granted<T>(result: { ok: true; value: T } | { ok: false; description: string }): T {
  return result.ok ? result.value : assert.fail(result.description)
}

/** The smallest image that there is. @returns its manifest */
async function uploadImage(daemon: Daemon, token: string): Promise<string> {
  const ask = async (method: string, path: string, body?: string) => {
    const type = path.endsWith('/upload') ? 'application/octet-stream' : 'application/json'
    const headers = { authorization: `Bearer ${token}`, 'content-type': type }
    const answer = await send(method, `${daemon.url}/1.0/images${path}`, {
      headers,
      ...(body ? { body } : {}),
    })
    assert.ok(answer.status < 300, answer.text)
    return JSON.parse(answer.text) as { id: string; status: string; digest: string }
  }
  const { id } = await ask('POST', '', '{"arch":"x86_64","upload":true,"name":"seed"}')
  await ask('PUT', `/${id}/upload`, 'bytes'.repeat(4096))
  for (;;) {
    const { status, digest } = await ask('GET', `/${id}`)
    if (status === 'available') return digest.slice('sha256:'.length)
    assert.equal(status, 'creating')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const STATUSES: readonly ImageStatus[] = [
  ...(['creating', 'deprecated', 'unavailable', 'deleting', 'deleted', 'failed'] as const),
]

function thingsOf({
  catalog,
  auth,
  account,
  manifest,
}: Pick<RightsWorld, 'catalog' | 'auth' | 'account' | 'manifest'>) {
  let made = 0
  const at = () => ({ createdAt: Date.now(), updatedAt: Date.now() })
  async function addImage(what: string, change: Partial<Image> = {}) {
    const [first = '', second = first] = what.split(' ')
    const status = STATUSES.find((status) => status === first) ?? 'available'
    const { id: _, ...image } = storedImage({ accountId: account, manifest, ...at(), source: null })
    const open = second === 'public'
    return (await catalog.images.insert({ ...image, status, public: open, ...change })).id
  }
  return {
    addImage,
    async addServer(status: ServerStatus, locked = false, accountId = account) {
      const imageId = await addImage('private')
      const [type] = await catalog.serverTypes.list()
      const [zone] = await catalog.zones.list()
      assert.ok(type && zone)
      const { id: _, slot: __, ...row } = fakeServer({ accountId, imageId, status, locked, ...at() })
      const goal = status === 'deleted' ? 'deleted' : 'stopped'
      const deletedAt = status === 'deleted' ? Date.now() : null
      const macAddress = `02:24:19:ff:00:${(made++ % 256).toString(16).padStart(2, '0')}`
      const ids = { typeId: type.id, zoneId: zone.id }
      const { id: server } = await catalog.servers.insert({ ...row, ...ids, goal, deletedAt, macAddress })
      const { id: ___, ...disk } = fakeVolume({
        accountId,
        serverId: server,
        imageId,
        manifest,
        ...at(),
      })
      const { id: volume } = await catalog.volumes.insert({ ...disk, standsAlone: true, deletedAt })
      return { server, volume }
    },
    async addUser() {
      const email = `user-${made++}@example.org`
      return (
        await catalog.users.insert(
          { name: 'Somebody', email, sshKey: null, createdAt: Date.now(), accountIds: [account] },
          'nothing',
        )
      ).id
    },
    addClient: async () => (await auth.operator.createClient(account, {})).client.id,
    async addKey() {
      const { id: ownerId } = (await auth.operator.createClient(account, {})).client
      const key = {
        name: null,
        type: 'ssh-ed25519',
        fingerprint: `SHA256:${randomBytes(32).toString('base64')}`,
      }
      return (
        await catalog.sshKeys.insert({
          ...{ ...key, ownerId, createdAt: Date.now() },
          blob: randomBytes(51).toString('base64'),
        })
      ).id
    },
  }
}
