import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { openCatalog } from '#control/catalog/catalog.ts'
import type { AccountStatus } from '#model/account.ts'
import { ANYBODY, type Caller } from '#model/orbit.ts'
import { EVERYTHING, openOrbit, PLAIN } from './orbit.fixtures.ts'
import { OrbitRefusal } from './orbit.ts'

const EXPIRES = '1893456000'

/** Orbit with an object that everybody may read and others may write, and a way to suspend its account. */
async function setUp(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'orbit-accounts-'))
  const path = join(folder, 'catalog.sqlite')
  const fixture = await openOrbit({ catalog: await openCatalog({ path }) })
  t.after(async () => {
    await fixture[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })
  const { orbit, owner, other, account } = fixture
  const own = { account, container: 'c' }
  await orbit.containers.update(owner, own, {
    metadata: {},
    read: '.r:*,.rlistings',
    write: other.session?.accountId ?? '',
  })
  await orbit.accounts.update(owner, account, { 'temp-url-key': 'k' })
  await fixture.put('o', 'bytes')
  const set = (status: AccountStatus) => {
    using database = new DatabaseSync(path)
    database.prepare('update accounts set status = ? where id = ?').run(status, account)
  }
  return { ...fixture, own, object: { ...own, object: 'o' }, set }
}

const attempts = (
  { orbit, own, object, other }: Awaited<ReturnType<typeof setUp>>,
  caller: Caller,
): Record<string, () => Promise<unknown>> => ({
  read: () => orbit.objects.show(caller, object),
  locate: async () => (await orbit.objects.locate(caller, object))[Symbol.asyncDispose](),
  list: () => orbit.containers.list(caller, own, EVERYTHING),
  show: () => orbit.containers.show(caller, own),
  write: async () => {
    const { signal } = new AbortController()
    await (await orbit.objects.beginPut(caller, object, { attributes: PLAIN, signal }))[Symbol.asyncDispose]()
  },
  copy: async () => {
    const to = { account: other.session?.accountId ?? '', container: 'd', object: 'o' }
    await orbit.objects.copy(caller, object, to, {
      attributes: PLAIN,
      signal: new AbortController().signal,
    })
  },
})

async function outcomes(fixture: Awaited<ReturnType<typeof setUp>>, caller: Caller): Promise<string> {
  const words: string[] = []
  for (const [name, attempt] of Object.entries(attempts(fixture, caller))) {
    const outcome = await attempt().then(
      () => 'done',
      (error) => (error instanceof OrbitRefusal ? error.kind : Promise.reject(error)),
    )
    words.push(`${name} ${outcome}`)
  }
  return words.join(', ')
}

const ALL_DENIED = 'read denied, locate denied, list denied, show denied, write denied, copy denied'

for (const status of ['suspended', 'closed'] as const) {
  test(`accounts: what is open to others in one that is ${status} is as if it were not there`, async (t) => {
    const fixture = await setUp(t)
    const { orbit, other } = fixture
    await orbit.containers.put(
      other,
      { account: other.session?.accountId ?? '', container: 'd' },
      { metadata: {} },
    )
    const before = {
      anybody: await outcomes(fixture, ANYBODY),
      other: await outcomes(fixture, other),
    }
    assert.equal(
      before.anybody,
      'read done, locate done, list done, show done, write denied, copy denied',
      'what is open is',
    )
    assert.equal(before.other, 'read done, locate done, list done, show done, write done, copy done')
    fixture.set(status)
    assert.equal(await outcomes(fixture, ANYBODY), ALL_DENIED)
    assert.equal(await outcomes(fixture, other), ALL_DENIED)
    assert.equal(await orbit.containers.facts(fixture.own), undefined)
    fixture.set('active')
    assert.equal(await outcomes(fixture, ANYBODY), before.anybody)
  })
}

test('accounts: temporary URLs of one that is suspended open nothing until it is active again', async (t) => {
  const fixture = await setUp(t)
  const path = `/v1/${fixture.account}/c/o`
  const signature = createHmac('sha256', 'k').update(`GET\n${EXPIRES}\n${path}`).digest('hex')
  const verify = () =>
    fixture.orbit.tempUrls.verify({
      ...{ method: 'GET', path, signature, expires: EXPIRES },
      ...{ prefix: undefined, ipRange: undefined, clientIp: '192.0.2.7' },
    })
  assert.ok(await verify())
  fixture.set('suspended')
  assert.equal(await verify(), undefined)
  fixture.set('active')
  assert.ok(await verify())
})
