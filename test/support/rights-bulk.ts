import assert from 'node:assert/strict'
import { send } from './orbit.ts'
import { BYTES, type OrbitThings } from './rights-orbit.ts'
import { bulkRights, orbitRights, rightOf } from './rights-table.ts'
import type { Actor, RightsWorld } from './rights-world.ts'

/** One request about several things. `abroad` is a container of the account of those who are foreign. */
export interface BulkAttempt {
  readonly request: string
  readonly source: string | undefined
  readonly target: string
  readonly actor: Pick<Actor, 'name' | 'orbitRole'> & { readonly token: string | undefined }
}

const ABROAD = 'abroad'

export function bulkAttempts({ actors }: Pick<RightsWorld, 'actors'>): BulkAttempt[] {
  const all = [...actors, { name: 'nobody', orbitRole: 'nobody', token: undefined }]
  const kinds = [...new Set(orbitRights().map(({ what }) => what))].filter((what) => what !== 'account')
  return bulkRights().flatMap(({ request, source }) =>
    all.flatMap((actor) =>
      (source === '' ? [undefined] : kinds).flatMap((source) =>
        // Who is a member of both accounts acts on the one that the address names.
        [...kinds, ...('accountId' in actor ? [] : [ABROAD])].map((target) => ({
          ...{ request, source, target, actor },
        })),
      ),
    ),
  )
}

const mayDo = (actor: BulkAttempt['actor'], verb: string, what: string): boolean =>
  what === ABROAD
    ? actor.orbitRole === 'foreign'
    : rightOf(orbitRights(), what, verb, actor.orbitRole) === 'yes'

/** Makes what attempts want, and the function that tries one. */
export async function createBulkThings(
  world: Pick<RightsWorld, 'daemon' | 'account' | 'foreign' | 'clients' | 'tokenOf' | 'publicImage'>,
  { ask }: Pick<OrbitThings, 'ask'>,
): Promise<(attempt: BulkAttempt) => Promise<void>> {
  const { daemon, account, foreign, clients } = world
  const url = (path: string, of = account) => `${daemon.url}/v1/${of}${path}`
  const headers = { 'x-auth-token': await world.tokenOf(clients.foreign) }
  assert.ok((await send('PUT', url(`/${ABROAD}`, foreign), { headers, body: '' })).status < 300)

  return async ({ request, source, target, actor }) => {
    const right = bulkRights().find((row) => row.request === request) ?? assert.fail(request)
    const isAllowed =
      (source === undefined || mayDo(actor, right.source, source)) && mayDo(actor, right.target, target)
    const label = `${actor.name}: ${request} from ${source} to ${target}`
    const token: Record<string, string> = actor.token === undefined ? {} : { 'x-auth-token': actor.token }
    const into = target === ABROAD ? foreign : account
    const name = encodeURIComponent(`copy by ${actor.name}`)
    if (source !== undefined) {
      const from = `/${source}/${source === 'images' ? world.publicImage : 'plain'}`
      const answer =
        request === '`COPY`'
          ? await send('COPY', url(from), {
              headers: { ...token, destination: `/${target}/${name}`, 'destination-account': into },
            })
          : await send('PUT', url(`/${target}/${name}`, into), {
              headers: {
                ...token,
                'x-copy-from': from,
                'x-copy-from-account': account,
                'content-length': '0',
              },
            })
      const isDone = answer.status < 300
      assert.equal(isDone, isAllowed, `${label}: ${answer.status} ${answer.text}`)
      if (!isDone) assert.ok([401, 403].includes(answer.status), `${label}: ${answer.status}`)
      return
    }
    if (request === 'archive upload') {
      const path = `/${target}?extract-archive=tar`
      const answer = await send('PUT', url(path, into), {
        headers: { ...token, accept: 'application/json' },
        body: tarOf(`copy by ${actor.name}`),
      })
      const told = answer.status === 200 ? JSON.parse(answer.text) : {}
      assert.equal(told['Number Files Created'] === 1, isAllowed, `${label}: ${answer.status} ${answer.text}`)
      return
    }
    const isContainer = request === 'bulk delete of containers'
    const answer = await send('POST', url('?bulk-delete', into), {
      headers: { ...token, accept: 'application/json', 'content-type': 'text/plain' },
      body: isContainer ? `/${target}\n` : `/${target}/none\n`,
    })
    const told = answer.status === 200 ? JSON.parse(answer.text) : { Errors: [['', String(answer.status)]] }
    // A container that is not empty stays, for whoever might remove it as well.
    const isDenied = told.Errors.some(([, status]: [string, string]) => /^40[13]/.test(status))
    assert.equal(!isDenied, isAllowed, `${label}: ${answer.text}`)
    const rest = await ask(undefined, 'GET', '/open/plain')
    assert.equal(rest.text, BYTES, label)
  }
}

/** An archive of one small file (POSIX ustar). */
function tarOf(name: string): Buffer {
  const head = Buffer.alloc(512)
  head.write(name, 0, 'latin1')
  head.write('0000644\0', 100)
  head.write(`${BYTES.length.toString(8).padStart(11, '0')}\0`, 124)
  head.write('00000000000\0', 136)
  head.write('        0', 148)
  head.write('ustar\u000000', 257)
  const sum = head.reduce((all, byte) => all + byte, 0)
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  const body = Buffer.alloc(512)
  body.write(BYTES)
  return Buffer.concat([head, body, Buffer.alloc(1024)])
}
