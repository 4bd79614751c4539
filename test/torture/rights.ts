import assert from 'node:assert/strict'
import {
  type ApiAttempt,
  apiAttempts,
  createThings,
  expectedOf,
  orbitAttempts,
  tryApi,
} from '../support/rights-attempts.ts'
import { bulkAttempts, createBulkThings } from '../support/rights-bulk.ts'
import { createOrbitThings } from '../support/rights-orbit.ts'
import { imageRights, routeRights } from '../support/rights-table.ts'
import { openRightsWorld, type RightsWorld } from '../support/rights-world.ts'
import type { Attack, Round } from './attack.ts'

const SHORT = 150
const LONG = 20_000
const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'] as const
const OPENS: Readonly<Record<string, readonly string[]>> = {
  ...{ GET: ['GET'], HEAD: ['HEAD', 'GET', 'PUT', 'POST'], PUT: ['PUT'], POST: ['POST'], DELETE: ['DELETE'] },
}

/**
 * Everybody tries everything, in an order that chance makes, while images change hands and states and accounts are
 * suspended in between: each time the answer is the one that docs/rights.md has.
 */
export const rights: Attack = {
  name: 'rights',
  async run(round) {
    await using world = await openRightsWorld()
    const pick = <T>(list: readonly T[]): T => {
      const found = list[Math.floor(round.random() * list.length)]
      return found ?? assert.fail('nothing to pick from')
    }
    const things = await createOrbitThings(world, world.account, world.actors[0]?.token ?? '')
    const make = createThings(world)
    const [api, orbit, bulk] = [apiAttempts(world), orbitAttempts(world), bulkAttempts(world)]
    const tryBulk = await createBulkThings(world, things)
    const steps: (() => Promise<void>)[] = [
      () => tryApi(world, pick(api), make),
      () => things.attempt(pick(orbit)),
      async () => {
        const [signed, method] = [pick(METHODS), pick(METHODS)]
        // What is put in the place of an expired object is there again.
        const object = method === 'PUT' ? 'missing' : pick(['missing', 'expired'])
        const status = await things.withUrl(method, signed, 'container', object)
        const opens = OPENS[method]?.includes(signed)
        assert.equal(status === 401, !opens, `${method} with the signature of ${signed}: ${status}`)
        if (signed === 'PUT' && method === 'PUT')
          await things.withUrl('DELETE', 'DELETE', 'container', 'missing')
      },
      () => tryBulk(pick(bulk)),
      () => changeImage(world, pick, round),
      () => suspend(world, pick, things.ask),
    ]
    // API and Orbit have most of the combinations.
    const weighted = [0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 4, 5]
    const most = round.short ? SHORT : LONG
    for (let done = 0; done < most && !round.signal.aborted; done++) {
      await (steps[pick(weighted)] ?? assert.fail())()
      round.count('combinations of rights')
    }
  },
}

type Pick = <T>(list: readonly T[]) => T

/** One image goes from state to state, and after each change everybody sees it as it is then. */
async function changeImage(world: RightsWorld, pick: Pick, round: Round): Promise<void> {
  const states = [...new Set(imageRights().map(({ what }) => what))].filter((what) => what !== 'deleted')
  const routes = routeRights().filter(({ thing, method }) => thing === 'image' && method !== 'DELETE')
  const id = await world.addImage(pick(states))
  for (let changes = 0; changes < 4 && !round.signal.aborted; changes++) {
    const state = pick(states)
    const [first = '', second = first] = state.split(' ')
    const isAvailable = first === 'private' || first === 'public'
    const status = isAvailable ? 'available' : (first as 'failed')
    const all = ['creating', 'available', 'deprecated', 'unavailable', 'deleting', 'failed'] as const
    await world.catalog.images.update(id, { status, public: second === 'public' }, all)
    const attempt: ApiAttempt = { route: pick(routes), actor: pick(world.actors), state }
    const { missing } = createThings(world)
    await tryApi(
      world,
      attempt,
      Object.assign(async () => id, { missing }),
    )
    round.count('combinations of rights')
  }
}

/** While an account is suspended nobody acts on it; those of other accounts go on. */
async function suspend(
  world: RightsWorld,
  pick: Pick,
  ask: (token: string | undefined, method: string, path: string) => Promise<{ readonly status: number }>,
): Promise<void> {
  await world.setStatus(world.account, pick(['suspended', 'closed'] as const))
  try {
    const actor = pick(world.actors)
    const isForeign = actor.role.startsWith('foreign')
    const query = actor.accountId === undefined ? '' : `?account_id=${actor.accountId}`
    const route = { method: 'GET', path: '/1.0/zones', thing: 'offer', verb: 'see' }
    const { status } = await world.api(actor.token, 'GET', `/1.0/zones${query}`)
    const word = expectedOf({ route, actor, state: 'as it is' })
    assert.equal(status, isForeign && word === 'yes' ? 200 : 403, `${actor.name} while suspended`)
    for (const path of ['', '/open/plain', '/listed', '/lent/plain']) {
      const { status } = await ask(pick(['', actor.token]) || undefined, pick(['GET', 'HEAD']), path)
      assert.ok(status === 401 || status === 403, `${path} of a suspended account: ${status}`)
    }
  } finally {
    await world.setStatus(world.account, 'active')
  }
}
