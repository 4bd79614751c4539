import assert from 'node:assert/strict'
import type { ServerStatus } from '#model/server.ts'
import {
  imageRights,
  orbitRights,
  otherRights,
  type RouteRight,
  rightOf,
  routeRights,
  type Word,
} from './rights-table.ts'
import type { Actor, ApiAnswer, RightsWorld } from './rights-world.ts'

/** One combination: who does what with a thing in which state. */
export interface ApiAttempt {
  readonly route: RouteRight
  readonly actor: Actor
  readonly state: string
}

const SERVER_STATES = ['active', 'inactive', 'deleted']
const IMAGE_STATES = [...new Set(imageRights().map(({ what }) => what))]
/** Nothing else looks at a lock. */
const isForLocked = ({ method, path }: RouteRight) => method === 'DELETE' || path.endsWith('lock_resource')

export function apiAttempts({ actors }: Pick<RightsWorld, 'actors'>): ApiAttempt[] {
  const routes = routeRights().filter(({ thing }) => thing !== 'credentials')
  return routes.flatMap((route) =>
    actors.flatMap((actor) => statesOf(route).map((state) => ({ route, actor, state }))),
  )
}

function statesOf(route: RouteRight): readonly string[] {
  const { thing } = route
  const locked = (state: string) => (isForLocked(route) ? [`${state} locked`] : [])
  if (thing === 'image') return [...IMAGE_STATES, ...locked('private'), ...locked('public')]
  if (thing === 'server') return [...SERVER_STATES, ...locked('inactive')]
  return thing === 'volume' ? SERVER_STATES : ['as it is']
}

/** What docs/rights.md says of it. */
export function expectedOf({ route, actor, state }: ApiAttempt): Word {
  const { thing, verb } = route
  if (thing === 'self') {
    if (actor.role === 'storage') return actor.isUser ? 'no' : 'hidden'
    return actor.isUser ? 'yes' : 'hidden'
  }
  if (thing === 'image') return rightOf(imageRights(), state.replace(' locked', ''), verb, actor.role)
  // Who is a member of two acts on this one.
  return rightOf(otherRights(), thing, verb, actor.role)
}

const BODIES: Readonly<Record<string, unknown>> = {
  'PUT /1.0/accounts/{id}': {},
  'PUT /1.0/account': {},
  'POST /1.0/api_clients': {},
  'PUT /1.0/api_clients/{id}': {},
  'POST /1.0/images': { arch: 'x86_64', upload: true },
  'PUT /1.0/images/{id}': {},
  'PUT /1.0/servers/{id}': {},
  'POST /1.0/ssh_keys': { public_key: 'no key' },
  'PUT /1.0/users/{id}': {},
  'PUT /1.0/user': {},
}

export interface MakeThing {
  /** Makes the thing, anew where the attempt may end it. */
  (thing: string, state: string, fresh: boolean): Promise<string>
  /** The answer about what never was, asked for once. */
  missing(key: string, ask: () => Promise<ApiAnswer>): Promise<ApiAnswer>
}

export function createThings(world: RightsWorld): MakeThing {
  const made = new Map<string, Promise<string>>()
  const make = async (thing: string, state: string): Promise<string> => {
    const [first = '', second] = state.split(' ')
    const locked = state.endsWith('locked')
    switch (thing) {
      case 'image':
        return await world.addImage(state.replace(' locked', ''), { locked })
      case 'server':
        return (await world.addServer(first as ServerStatus, second === 'locked')).server
      case 'volume':
        return (await world.addServer(first as ServerStatus, second === 'locked')).volume
      case 'account':
        return world.account
      case 'user':
        return await world.addUser()
      case 'client':
        return await world.addClient()
      case 'key':
        return await world.addKey()
      default:
        return 'none'
    }
  }
  const answers = new Map<string, Promise<ApiAnswer>>()
  const find = (thing: string, state: string, fresh: boolean) => {
    const key = `${thing} ${state}`
    const known = fresh ? undefined : made.get(key)
    const id = known ?? make(thing, state)
    if (!fresh) made.set(key, id)
    return id
  }
  return Object.assign(find, {
    missing(key: string, ask: () => Promise<ApiAnswer>) {
      const answer = answers.get(key) ?? ask()
      answers.set(key, answer)
      return answer
    },
  })
}

/** Tries it, and throws where the answer is not what the document says. */
export async function tryApi(world: RightsWorld, attempt: ApiAttempt, make: MakeThing): Promise<void> {
  const { route, actor, state } = attempt
  const expected = expectedOf(attempt)
  const fresh = expected === 'yes' && route.method === 'DELETE'
  const id = route.path.includes('{id}') ? await idFor(world, attempt, fresh, make) : ''
  const label = JSON.stringify({ route: `${route.method} ${route.path}`, who: actor.name, state, id })
  const answer = await askApi(world, attempt, id)
  assert.ok(answer.status < 500, `${label}: ${answer.status} ${answer.text}`)
  assert.equal(wordOf(answer), expected, `${label}: ${answer.status} ${answer.text}`)
  if (expected !== 'hidden' || id === '') return
  const missing = await make.missing(`${route.method} ${route.path} ${actor.name}`, () =>
    askApi(world, attempt, `${id.slice(0, 4)}zzzzz`),
  )
  assert.deepEqual(
    shapeOf(answer, id),
    shapeOf(missing, `${id.slice(0, 4)}zzzzz`),
    `${label}: tells that it is there`,
  )
}

async function idFor(
  world: RightsWorld,
  { route, actor, state }: ApiAttempt,
  fresh: boolean,
  make: MakeThing,
) {
  if (route.thing !== 'offer') return await make(route.thing, state, fresh)
  const kind = route.path.includes('zones') ? world.catalog.zones : world.catalog.serverTypes
  const [first] = await kind.list()
  return first?.id ?? assert.fail(`nothing is offered to ${actor.name}`)
}

function askApi(world: RightsWorld, { route, actor }: ApiAttempt, id: string): Promise<ApiAnswer> {
  const { method, path } = route
  const query = actor.accountId === undefined ? '' : `?account_id=${actor.accountId}`
  const isBuild = `${method} ${path}` === 'POST /1.0/servers'
  const body = isBuild ? { image: world.publicImage, server_type: 'none' } : BODIES[`${method} ${path}`]
  return world.api(actor.token, method, path.replace('{id}', id) + query, body)
}

function wordOf({ status }: ApiAnswer): Word | 'login' {
  if (status === 401) return 'login'
  if (status === 403) return 'no'
  return status === 404 ? 'hidden' : 'yes'
}

/** All of an answer that could tell something, with the id left out. */
export function shapeOf({ status, headers, text }: ApiAnswer, id: string) {
  const { date, 'x-request-id': _, 'x-trans-id': __, 'x-openstack-request-id': ___, ...told } = headers
  const body = text.replaceAll(id, 'ID').replace(/"request_id":"[^"]*"/, '')
  return { status, body, headers: { ...told, dated: date !== undefined } }
}

/** One combination in Orbit. `role` is a word of the table, `what` a kind of container. */
export interface OrbitAttempt {
  readonly what: string
  readonly verb: string
  readonly actor: Pick<Actor, 'name' | 'orbitRole'> & { readonly token: string | undefined }
  readonly state: 'plain' | 'expired' | 'missing'
}

export function orbitAttempts({ actors }: Pick<RightsWorld, 'actors'>): OrbitAttempt[] {
  const nobody = { name: 'nobody', orbitRole: 'nobody', token: undefined }
  const all = [...actors, nobody]
  const kinds = new Map(orbitRights().map(({ what, verb }) => [`${what} ${verb}`, { what, verb }]))
  return [...kinds.values()]
    .filter(({ verb }) => verb !== 'gather')
    .flatMap(({ what, verb }) =>
      all.flatMap((actor) => {
        const states = verb === 'read' ? (['plain', 'expired', 'missing'] as const) : (['plain'] as const)
        return states.map((state) => ({ what, verb, actor, state }))
      }),
    )
}

export const orbitWord = ({ what, verb, actor }: OrbitAttempt): Word =>
  rightOf(orbitRights(), what, verb, actor.orbitRole)
