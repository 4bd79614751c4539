import assert from 'node:assert/strict'
import { send } from './orbit.ts'
import { type OrbitAttempt, orbitWord, shapeOf } from './rights-attempts.ts'
import { type RightsWorld, signUrl } from './rights-world.ts'

/** Bytes of every object that is there. */
export const BYTES = 'the bytes'
const KEY = 'a key for temporary URLs'
/** Longer than an object that ends in a second is there. */
const EXPIRED_MS = 1100

export interface OrbitThings {
  /** Tries a combination. */
  attempt(attempt: OrbitAttempt): Promise<void>
  /** Asks with the signature of a method for another. */
  withUrl(method: string, signed: string, container: string, object?: string): Promise<number>
  ask(token: string | undefined, method: string, path: string, more?: Record<string, string>): Promise<Answer>
}

type Answer = Awaited<ReturnType<typeof send>>

/** Makes the containers of docs/rights.md in an account, with what may be in them. */
export async function createOrbitThings(
  world: Pick<RightsWorld, 'daemon' | 'clients' | 'foreign' | 'publicImage'>,
  account: string,
  owner: string,
): Promise<OrbitThings> {
  const { daemon, clients, foreign } = world
  const base = `/v1/${account}`
  const ask: OrbitThings['ask'] = (token, method, path, more = {}) =>
    send(method, `${daemon.url}${base}${path}`, {
      headers: { ...(token === undefined ? {} : { 'x-auth-token': token }), ...more },
      body: method === 'PUT' && path.split('/').length > 2 ? BYTES : '',
    })
  const granted = `${account}:${clients.storage.id}`
  const lists: Readonly<Record<string, Record<string, string>>> = {
    container: {},
    open: { 'x-container-read': '.r:*' },
    listed: { 'x-container-read': '.r:*,.rlistings' },
    lent: { 'x-container-read': foreign, 'x-container-write': foreign },
    granted: { 'x-container-read': granted, 'x-container-write': granted },
  }
  const good = async (answer: Promise<Answer>) => {
    const { status, text } = await answer
    assert.ok(status < 300, `${status} ${text}`)
  }
  await good(ask(owner, 'POST', '', { 'x-account-meta-temp-url-key': KEY }))
  for (const [name, headers] of Object.entries(lists)) {
    await good(ask(owner, 'PUT', `/${name}`, headers))
    await good(ask(owner, 'PUT', `/${name}/plain`))
    await good(ask(owner, 'PUT', `/${name}/expired`, { 'x-delete-after': '1' }))
  }
  await new Promise((resolve) => setTimeout(resolve, EXPIRED_MS))

  const objectIn = (what: string, state: OrbitAttempt['state']) => {
    if (what !== 'images') return state
    return state === 'plain' ? world.publicImage : 'img-zzzzz'
  }
  function requestsOf({ what, verb, state, actor }: OrbitAttempt): [method: string, path: string][] {
    const object = `/${what}/${objectIn(what, state)}`
    const of = (path: string, ...methods: string[]) =>
      methods.map((method): [string, string] => [method, path])
    switch (verb) {
      case 'see':
        return of('', 'HEAD', 'GET')
      case 'change':
        return of(what === 'account' ? '' : `/${what}`, 'POST')
      case 'make':
        return of(`/${what}`, 'PUT')
      case 'remove':
        return of(`/${what}`, 'DELETE')
      case 'list':
        return of(`/${what}`, 'HEAD', 'GET')
      case 'read':
        return of(object, 'HEAD', 'GET')
      default:
        return of(`/${what}/${encodeURIComponent(actor.name)}`, 'PUT', 'POST', 'DELETE')
    }
  }

  return {
    ask,
    async attempt(attempt) {
      const { what, actor, state } = attempt
      const isAllowed = orbitWord(attempt) === 'yes'
      // Who has no token, or one that is not for Orbit, is asked who he is.
      const refusal = actor.orbitRole === 'nobody' || actor.orbitRole === 'infrastructure' ? 401 : 403
      for (const [method, path] of requestsOf(attempt)) {
        const answer = await ask(actor.token, method, path)
        const label = `${actor.name}: ${method} ${path}: ${answer.status} ${answer.text}`
        if (!isAllowed) {
          assert.equal(answer.status, refusal, label)
          assert.ok(!answer.text.includes(BYTES), label)
          if (!path.includes('/', 1)) continue
          const missing = await ask(actor.token, method, `/${what}/missing`)
          assert.deepEqual(shapeOf(answer, path), shapeOf(missing, `/${what}/missing`), label)
        } else if (state === 'plain') {
          assert.ok(answer.status < 300 || answer.status === 409, label)
        } else assert.equal(answer.status, 404, label)
      }
    },
    async withUrl(method, signed, container, object = 'plain') {
      const path = signUrl(KEY, signed, `${base}/${container}/${object}`)
      const { status } = await send(method, `${daemon.url}${path}`, { body: method === 'PUT' ? BYTES : '' })
      return status
    },
  }
}
