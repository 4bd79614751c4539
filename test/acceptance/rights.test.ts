import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { send } from '../support/orbit.ts'
import { apiAttempts, createThings, orbitAttempts, tryApi } from '../support/rights-attempts.ts'
import { bulkAttempts, createBulkThings } from '../support/rights-bulk.ts'
import { askNbd, tryNbd, trySftp } from '../support/rights-logins.ts'
import { createOrbitThings } from '../support/rights-orbit.ts'
import { credentialRights, imageRights, rightOf, routeRights } from '../support/rights-table.ts'
import { openRightsWorld, type RightsWorld } from '../support/rights-world.ts'
import { needs } from '../support/tools.ts'

describe('rights at every edge', needs('nbdinfo'), () => {
  let world: RightsWorld

  before(async () => {
    world = await openRightsWorld({ 'nbd.listen': '127.0.0.1:0' })
  })

  after(() => world[Symbol.asyncDispose]())

  test('every route of the API stands in the document, and no other', async () => {
    const { text } = await world.api(undefined, 'GET', '/openapi.json')
    const { paths } = JSON.parse(text) as { paths: Record<string, Record<string, unknown>> }
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    )
    assert.deepEqual(
      routeRights()
        .map(({ method, path }) => `${method} ${path}`)
        .sort(),
      routes.sort(),
    )
  })

  test('API: everybody may what the document says of everything, and learns of nothing else', async () => {
    const make = createThings(world)
    const attempts = apiAttempts(world)
    await tryAll(attempts, (attempt) => tryApi(world, attempt, make))
    assert.ok(attempts.length > 2000, `${attempts.length} combinations`)
  })

  test('API: who has no good token is asked for one at every address, whether there is anything or not', async () => {
    const image = await world.addImage('public')
    for (const { method, path, thing } of routeRights()) {
      if (thing === 'credentials') continue
      const there = path.replace('{id}', image)
      const missing = path.replace('{id}', 'img-zzzzz')
      for (const token of [undefined, ...Object.values(world.dead)]) {
        const answers = [await world.api(token, method, there), await world.api(token, method, missing)]
        assert.deepEqual(
          answers.map(({ status }) => status),
          [401, 401],
          `${method} ${path}`,
        )
        assert.equal(answers[0]?.text, answers[1]?.text)
      }
      assert.equal((await world.api(world.suspendedToken, method, there)).status, 403, `${method} ${path}`)
    }
  })

  test('Orbit: everybody may what the document says of every container, and learns of nothing else', async () => {
    const things = await createOrbitThings(world, world.account, world.actors[0]?.token ?? '')
    await tryAll(orbitAttempts(world), things.attempt)
    for (const token of Object.values(world.dead)) {
      for (const path of ['', '/open', '/open/plain', '/none', '/none/plain'])
        assert.equal((await things.ask(token, 'GET', path)).status, 401, path)
    }
  })

  test('Orbit in bulk: copies, deletes and archives need the rights to all that they touch', async () => {
    const things = await createOrbitThings(world, world.account, world.actors[0]?.token ?? '')
    const attempt = await createBulkThings(world, things)
    const attempts = bulkAttempts(world)
    await tryAll(attempts, attempt)
    assert.ok(attempts.length > 500, `${attempts.length} combinations`)
  })

  test('event streams: begin for whom the lists of events are, and for nobody else', async () => {
    const image = await world.addImage('private')
    const { server } = await world.addServer('inactive')
    for (const path of ['/1.0/events', `/1.0/images/${image}/events`, `/1.0/servers/${server}/events`]) {
      for (const { name, token, accountId } of world.actors) {
        const query = accountId === undefined ? '' : `?account_id=${accountId}`
        const { status } = await world.api(token, 'GET', path + query)
        assert.equal(await statusOfStream(world, token, path + query), status, `${name}: ${path}`)
      }
    }
  })

  test('Orbit: a temporary URL opens one object in one way, and nothing of an account that is suspended', async () => {
    const owner = world.clients.suspended
    await world.setStatus(world.suspended, 'active')
    const things = await createOrbitThings(world, world.suspended, await world.tokenOf(owner))
    const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'COPY']
    const opened: string[] = []
    for (const signed of METHODS) {
      for (const method of METHODS) {
        const status = await things.withUrl(method, signed, 'container')
        if (status !== 401) opened.push(`${signed}: ${method} ${status}`)
        // What was removed is needed again.
        await things.withUrl('PUT', 'PUT', 'container')
      }
    }
    assert.deepEqual(opened, [
      ...['GET: GET 200', 'GET: HEAD 200', 'HEAD: HEAD 200', 'PUT: HEAD 200', 'PUT: PUT 201'],
      ...['POST: HEAD 200', 'POST: POST 202', 'DELETE: DELETE 204'],
    ])
    assert.equal((await things.ask(undefined, 'GET', '/open/plain')).status, 200)
    await world.setStatus(world.suspended, 'suspended')
    assert.equal(await things.withUrl('GET', 'GET', 'container'), 401)
    assert.equal(await things.withUrl('PUT', 'PUT', 'container'), 401)
    const tokens = [undefined, world.suspendedToken, ...world.actors.map(({ token }) => token)]
    for (const token of tokens) {
      for (const path of ['/open/plain', '/listed', '/lent/plain', '']) {
        const there = await things.ask(token, 'GET', path)
        assert.ok([401, 403].includes(there.status), `${path}: ${there.status}`)
        const none = await send('GET', `${world.daemon.url}/v1/acc-zzzzz${path}`, {
          headers: token === undefined ? {} : { 'x-auth-token': token },
        })
        assert.equal(there.status, none.status)
        assert.equal(there.text, none.text)
      }
    }
  })

  test('SFTP: a storage client enters where access lists name it, and whoever is no good nowhere', async () => {
    const { clients, revoked } = world
    const paths = ['/container/plain', '/granted/plain', `/images/${world.publicImage}`]
    assert.deepEqual(await trySftp(world, clients.full, paths), [true, true, true])
    assert.deepEqual(await trySftp(world, clients.storage, paths), [false, true, false])
    assert.deepEqual(await trySftp(world, clients.foreign, paths), [false, false, false])
    const { email: id, password: secret } = world.user
    assert.deepEqual(await trySftp(world, { id, secret }, paths), [true, true, true])
    for (const who of [revoked, clients.suspended, { ...clients.full, secret: 'wrong' }])
      assert.equal(await trySftp(world, who), undefined, who.id)
  })

  test('NBD: an image opens in each of its states to whom the document says', async () => {
    for (const state of new Set(imageRights().map(({ what }) => what))) {
      const image = await world.addImage(state)
      for (const { name, role, token } of world.actors) {
        const [there, none] = [
          await askNbd(world, `${token}/${image}`),
          await askNbd(world, `${token}/img-zzzzz`),
        ]
        const word = rightOf(imageRights(), state, 'use', role)
        // One without bytes is refused in other words, to whoever may know of it.
        assert.equal(there !== none, word === 'yes', `${name}: ${state}: ${there}`)
      }
    }
  })

  test('NBD: a token opens what its bearer may use; what exists and what does not look alike', async () => {
    const own = await world.addImage('private')
    const { actors, publicImage, dead, suspendedToken } = world
    for (const { name, role, token } of actors) {
      const sees = rightOf(imageRights(), 'private', 'use', role) === 'yes'
      const toOwn = await tryNbd(world, `${token}/${own}`)
      assert.equal(toOwn === undefined, sees, `${name}: ${toOwn}`)
      const uses = rightOf(imageRights(), 'public', 'use', role) === 'yes'
      assert.equal((await tryNbd(world, `${token}/${publicImage}`)) === undefined, uses, name)
      if (!sees) assert.equal(toOwn, await tryNbd(world, `${token}/img-zzzzz`), name)
    }
    const refusals = new Set<string | undefined>()
    for (const token of [dead.unknown, dead.expired, dead.refresh, suspendedToken]) {
      refusals.add(await tryNbd(world, `${token}/${own}`))
    }
    assert.equal(refusals.size, 1)
    assert.ok(!refusals.has(undefined))
  })

  test('token endpoint: gives to whom the document says, and no more to those it does not', async () => {
    const { clients, revoked, user } = world
    const ask = async (id: string, secret: string, fields: object) => {
      const body = JSON.stringify({ client_id: id, client_secret: secret, ...fields })
      const headers = { 'content-type': 'application/json' }
      return send('POST', `${world.daemon.url}/token`, { headers, body })
    }
    const grant = { grant_type: 'client_credentials' }
    const word = async (id: string, secret: string) =>
      (await ask(id, secret, grant)).status < 300 ? 'yes' : 'no'
    const logIn = { grant_type: 'password', username: user.email, password: user.password }
    const asUser = await ask('app-12345', 'mocbuipbiaa6k6c', logIn)
    const words: Readonly<Record<string, string>> = {
      'full client': await word(clients.full.id, clients.full.secret),
      'storage client': await word(clients.storage.id, clients.storage.secret),
      user: asUser.status === 200 ? 'yes' : 'no',
      'revoked client': await word(revoked.id, revoked.secret),
      'suspended account': await word(clients.suspended.id, clients.suspended.secret),
    }
    for (const { credential, edge, word } of credentialRights()) {
      if (edge === 'token endpoint') assert.equal(words[credential] ?? 'no', word, credential)
    }
    const wrong = await ask(clients.full.id, 'wrong', grant)
    const none = await ask('cli-zzzzz', 'wrong', grant)
    assert.deepEqual([wrong.status, wrong.text], [none.status, none.text])
  })

  test('what is hidden takes as long to be refused as what never was', async () => {
    const image = await world.addImage('private')
    const { server } = await world.addServer('inactive')
    const stranger = world.actors.find(({ role }) => role === 'foreign')?.token ?? ''
    const orbit = (path: string) => () =>
      send('GET', `${world.daemon.url}/v1/${path}`, { headers: { 'x-auth-token': stranger } })
    const api = (path: string) => () => world.api(stranger, 'GET', `/1.0/${path}`)
    const pairs = [
      [api(`images/${image}`), api('images/img-zzzzz')],
      [api(`images/${image}/download`), api('images/img-zzzzz/download')],
      [api(`servers/${server}`), api('servers/srv-zzzzz')],
      [orbit(`${world.account}/container/plain`), orbit('acc-zzzzz/container/plain')],
    ] as const
    for (const [index, pair] of pairs.entries()) {
      const took: [number[], number[]] = [[], []]
      // Whatever else the machine does slows both alike.
      for (let n = 0; n < 80; n++) {
        for (const which of [0, 1] as const) {
          const begun = performance.now()
          await pair[which]()
          took[which].push(performance.now() - begun)
        }
      }
      const [there, none] = took.map(median)
      assert.ok(there !== undefined && none !== undefined)
      const difference = Math.abs(there - none)
      assert.ok(difference < Math.max(there, none) / 2 + 1, `pair ${index}: ${there} and ${none} ms`)
    }
  })
})

/** The status with which a stream begins, or is refused. */
async function statusOfStream({ daemon }: RightsWorld, token: string, path: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}`, accept: 'text/event-stream' }
  const request = get(`${daemon.url}${path}`, { headers })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.on('error', () => {}).destroy()
  return response.statusCode ?? 0
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

/** Tries all, some at once, and tells of the first that went wrong. */
async function tryAll<T>(attempts: readonly T[], attempt: (of: T) => Promise<void>): Promise<void> {
  const left = attempts.values()
  const wrong: string[] = []
  const work = async () => {
    for (const next of left) {
      await attempt(next).catch(({ message }: Error) => wrong.push(message))
    }
  }
  await Promise.all(Array.from({ length: 8 }, work))
  assert.equal(wrong.slice(0, 20).join('\n'), '')
}
