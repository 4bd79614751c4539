import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Catalog } from '#control/catalog/catalog.ts'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import { createAuth } from './create-auth.ts'
import { LoginLimits } from './login-limits.ts'
import { createLogins } from './logins.ts'

/** Names what each call does, so that what is told apart by time can be told apart without a clock. */
function noting<T extends object>(table: T, called: string[]): T {
  return new Proxy(table, {
    get(target, name) {
      const value = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        called.push(String(name))
        return value.apply(target, args)
      }
    },
  })
}

async function setUp() {
  const catalog: Catalog = await openTestCatalog()
  const auth = createAuth({ catalog, now: Date.now })
  const { id: account } = await auth.operator.createAccount({ name: 'One' })
  const attributes = { name: 'Jo', email: 'jo@example.com', password: 'correct horse battery' }
  const user = await auth.operator.createUser({ ...attributes, accountIds: [account] })
  const { client } = await auth.operator.createClient(account, {})
  const called: string[] = []
  const logins = createLogins({
    catalog: { users: noting(catalog.users, called), apiClients: noting(catalog.apiClients, called) },
    limits: new LoginLimits({ now: Date.now }),
    verify: async (_password, stored) => {
      called.push('derive')
      assert.ok(stored === undefined || stored.startsWith('scrypt$'))
      return false
    },
  })
  return { catalog, user, client, called, logins }
}

test('logins: a missing user costs what a wrong password costs, and one derivation is all', async () => {
  const { catalog, user, called, logins } = await setUp()
  await using _catalog = catalog
  const doneFor = async (name: string) => {
    called.length = 0
    const result = await logins.checkUser(name, 'wrong', '192.0.2.1')
    assert.ok(!result.ok)
    return { calls: [...called], says: result.description }
  }
  for (const [there, missing] of [
    [user.email, 'nobody@example.com'],
    [user.email.toUpperCase(), 'NOBODY@example.com'],
    [user.id, 'usr-zzzzz'],
  ] as const) {
    const done = await doneFor(there)
    assert.deepEqual(done, await doneFor(missing), there)
    assert.equal(done.calls.filter((call) => call === 'derive').length, 1)
  }
})

test('logins: a missing client costs what a wrong secret costs', async () => {
  const { catalog, client, called, logins } = await setUp()
  await using _catalog = catalog
  const doneFor = async (id: string) => {
    called.length = 0
    const result = await logins.checkClient({ id, secret: 'wrong' }, '192.0.2.1')
    assert.ok(!result.ok)
    return { calls: [...called], says: result.description }
  }
  const done = await doneFor(client.id)
  assert.deepEqual(done, await doneFor('cli-zzzzz'))
  await catalog.apiClients.update(client.id, { revokedAt: 1 })
  assert.deepEqual(done, await doneFor(client.id))
})
