import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { apiAttempts, createThings, tryApi } from '../support/rights-attempts.ts'
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
})
