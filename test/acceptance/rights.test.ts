import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { send } from '../support/orbit.ts'
import { apiAttempts, createThings, orbitAttempts, tryApi } from '../support/rights-attempts.ts'
import { createOrbitThings } from '../support/rights-orbit.ts'
import { routeRights } from '../support/rights-table.ts'
import { openRightsWorld, type RightsWorld } from '../support/rights-world.ts'

describe('rights at every edge', () => {
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
    const left = attempts.values()
    const wrong: string[] = []
    const work = async () => {
      for (const attempt of left) {
        await tryApi(world, attempt, make).catch(({ message }: Error) => wrong.push(message))
      }
    }
    await Promise.all(Array.from({ length: 8 }, work))
    assert.equal(wrong.slice(0, 20).join('\n'), '')
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
    for (const attempt of orbitAttempts(world)) await things.attempt(attempt)
    for (const token of Object.values(world.dead)) {
      for (const path of ['', '/open', '/open/plain', '/none', '/none/plain'])
        assert.equal((await things.ask(token, 'GET', path)).status, 401, path)
    }
  })

  test('Orbit: a temporary URL opens one object in one way, and nothing of an account that is suspended', async () => {
    const owner = world.clients.suspended
    world.setStatus(world.suspended, 'active')
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
    world.setStatus(world.suspended, 'suspended')
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
})
