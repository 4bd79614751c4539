import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openCatalog } from '#control/catalog/catalog.ts'
import type { Session } from '#model/session.ts'
import type { AuthResult, Stay } from './auth.ts'
import { createAuth } from './create-auth.ts'
import { createStays } from './stays.ts'

const PASSWORD = 'correct horse battery'
const APPLICATION = { id: 'app-12345', secret: 'mocbuipbiaa6k6c' }

/** An account with a client and a user, who is a member of another one as well. */
async function setUp() {
  const folder = await mkdtemp(join(tmpdir(), 'stays-'))
  const path = join(folder, 'catalog.sqlite')
  const catalog = await openCatalog({ path })
  const auth = createAuth({ catalog, now: Date.now })
  const account = (await auth.operator.createAccount({ name: 'One' })).id
  const other = (await auth.operator.createAccount({ name: 'Two' })).id
  const { client, secret } = await auth.operator.createClient(account, {})
  const attributes = { name: 'Jo', email: 'jo@example.com', password: PASSWORD }
  const user = await auth.operator.createUser({ ...attributes, accountIds: [account, other] })
  const asClient = () => auth.issue({ id: client.id, secret }, { grantType: 'client_credentials' })
  const asUser = () =>
    auth.issue(APPLICATION, { grantType: 'password', username: user.id, password: PASSWORD })
  const sessionOf = async (issued: AuthResult<{ accessToken: string }>, accountId?: string) =>
    granted(await auth.authenticate(granted(issued).accessToken, accountId))
  return {
    ...{ auth, catalog, account, other, client, user },
    stays: createStays({ catalog, lookMs: 5 }),
    byClient: await sessionOf(await asClient()),
    byUser: await sessionOf(await asUser()),
    elsewhere: await sessionOf(await asUser(), other),
    async [Symbol.asyncDispose]() {
      await catalog[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    },
  }
}

function granted<T>(result: AuthResult<T>): T {
  return result.ok ? result.value : assert.fail(result.description)
}

const ended = ({ signal }: Stay) =>
  new Promise<void>((resolve) =>
    signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve()),
  )

type World = Awaited<ReturnType<typeof setUp>>

const CHANGES: Readonly<Record<string, [(at: World) => unknown, ends: readonly (keyof World)[]]>> = {
  'an account that is suspended': [
    ({ auth, account }) => auth.operator.setAccountStatus(account, 'suspended'),
    ['byClient', 'byUser'],
  ],
  'a client that is revoked': [
    ({ auth, byClient, client }) => auth.clients.revoke(byClient, client.id),
    ['byClient'],
  ],
  'a secret that is reset': [
    ({ auth, byClient, client }) => auth.clients.resetSecret(byClient, client.id),
    ['byClient'],
  ],
  'a client that is for storage alone from now on': [
    ({ auth, byClient, client }) => auth.clients.update(byClient, client.id, { permissions: 'storage' }),
    ['byClient'],
  ],
  'a password that is changed': [
    ({ auth, user }) => auth.operator.setPassword(user.id, 'another long one'),
    ['byUser', 'elsewhere'],
  ],
  'a user who is no member any more': [
    ({ auth, user, other }) => auth.operator.removeUser(user.email, other),
    ['elsewhere'],
  ],
  'a user who is removed': [
    ({ auth, user }) => auth.operator.removeUser(user.email),
    ['byUser', 'elsewhere'],
  ],
}

for (const [what, [change, ends]] of Object.entries(CHANGES)) {
  test(`stays: ${what} ends what is open, and nothing else`, async () => {
    await using at = await setUp()
    const names = ['byClient', 'byUser', 'elsewhere'] as const
    const stays = names.map((name) => [name, at.stays.enter(at[name])] as const)
    await change(at)
    await Promise.all(stays.filter(([name]) => ends.includes(name)).map(([, stay]) => ended(stay)))
    // Whoever comes now is looked at after all those.
    await ended(at.stays.enter({ ...at.byClient, standing: 'another' }))
    for (const [name, stay] of stays) assert.equal(stay.signal.aborted, ends.includes(name), name)
  })
}

test('stays: end with what else they hang on, and are not asked about once they are over', async () => {
  await using at = await setUp()
  let good = true
  const stay = at.stays.enter(at.byClient, async () => good)
  good = false
  await ended(stay)
  let asked = 0
  at.stays
    .enter(at.byClient, async () => {
      asked++
      return true
    })
    [Symbol.dispose]()
  await ended(at.stays.enter(at.byClient, async () => false))
  assert.equal(asked, 0)
})

test('stays: nobody is let stay in whose standing is not known', async () => {
  await using at = await setUp()
  const { standing: _, ...unknown }: Session = at.byClient
  await ended(at.stays.enter(unknown))
})

test('stays: a catalog that cannot be read ends nobody, and the next look counts', async () => {
  await using at = await setUp()
  let fails = 3
  const accounts = {
    ...at.catalog.accounts,
    find: (id: string) => (fails-- > 0 ? Promise.reject(new Error('busy')) : at.catalog.accounts.find(id)),
  }
  const stays = createStays({ catalog: { ...at.catalog, accounts }, lookMs: 1 })
  const stay = stays.enter(at.byClient)
  await ended(stays.enter({ ...at.byClient, standing: 'another' }))
  assert.ok(fails <= 0)
  assert.equal(stay.signal.aborted, false)
})

test('tokens: one that is asked for while the password changes is not given', async () => {
  await using at = await setUp()
  const { auth, user } = at
  // Each check takes longer than it takes to begin the change; whichever comes first, no token outlives it.
  const wish = { grantType: 'password', username: user.id, password: PASSWORD }
  const asked = [1, 2].map(() => auth.issue(APPLICATION, wish))
  const changed = auth.operator.setPassword(user.id, 'another long one')
  const login = auth.orbit.login({ user: user.id, key: PASSWORD })
  const results = await Promise.all(asked)
  await changed
  for (const result of results) {
    if (result.ok) assert.equal((await auth.authenticate(result.value.accessToken)).ok, false)
  }
  const entered = await login
  if (entered.ok) assert.equal((await auth.orbit.identify(entered.value.token)).ok, false)
})

test('tokens: a client that loses rights has them no more, with tokens of before as well', async () => {
  await using at = await setUp()
  const { auth, client, byClient } = at
  const { secret } = await auth.clients.resetSecret(byClient, client.id)
  const issued = granted(await auth.issue({ id: client.id, secret }, { grantType: 'client_credentials' }))
  await auth.clients.update(byClient, client.id, { permissions: 'storage' })
  assert.equal(granted(await auth.authenticate(issued.accessToken)).permissions, 'storage')
})
