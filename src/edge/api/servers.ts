import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { LibraryError } from '#base/errors.ts'
import type { ShownServer } from '#control/servers/servers.ts'
import type { App } from '#edge/http/app.ts'
import { urlOf } from '#schema/fields.ts'
import { printListedServer, printServer } from '#schema/print-server.ts'
import {
  parseServerCreate,
  parseServerUpdate,
  type ServerCreateJson,
  ServerCreateSchema,
  ServerSchema,
  type ServerUpdateJson,
  ServerUpdateSchema,
} from '#schema/server.ts'
import { baseOf, sessionOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ById } from './images.ts'
import { docs, listOf, named } from './route-docs.ts'

/** Servers as their account sees and changes them. */
export function serverRoutes(app: App, deps: ApiDeps): void {
  const { servers } = deps
  const print = (request: FastifyRequest, shown: ShownServer) => printServer(shown, optionsFor(request, deps))

  app.get('/servers', { schema: LIST_DOCS }, async (request) => {
    const options = optionsFor(request, deps)
    return (await servers.list(sessionOf(request))).map((shown) => printListedServer(shown, options))
  })

  app.post<{ Body: ServerCreateJson }>('/servers', { schema: CREATE_DOCS }, async (request, reply) => {
    const body = print(request, await servers.create(sessionOf(request), parseServerCreate(request.body)))
    reply.code(202).header('location', body.url)
    return body
  })

  app.get<ById>('/servers/:id', { schema: SHOW_DOCS }, async (request) =>
    print(request, await servers.show(sessionOf(request), request.params.id)),
  )

  app.put<ById & { Body: ServerUpdateJson }>('/servers/:id', { schema: UPDATE_DOCS }, async (request) => {
    const attributes = parseServerUpdate(request.body)
    return print(request, await servers.update(sessionOf(request), request.params.id, attributes))
  })

  app.delete<ById>('/servers/:id', { schema: DESTROY_DOCS }, async (request, reply) => {
    reply.code(202)
    return print(request, await servers.destroy(sessionOf(request), request.params.id))
  })

  for (const [action, summary] of Object.entries(LOCKS)) {
    const schema = docs({ tag, id: `${action}Server`, summary, answers: { 200: named(ServerSchema) } })
    app.put<ById>(`/servers/:id/${action}_resource`, { schema }, async (request) =>
      print(request, await servers[action as keyof typeof LOCKS](sessionOf(request), request.params.id)),
    )
  }

  for (const [action, summary] of Object.entries(ACTIONS)) {
    const schema = actionDocs(`${action}Server`, summary)
    app.post<ById>(`/servers/:id/${action}`, { schema }, async (request, reply) => {
      reply.code(202)
      return print(
        request,
        await servers[action as keyof typeof ACTIONS](sessionOf(request), request.params.id),
      )
    })
  }

  app.post<ById>('/servers/:id/activate_console', { schema: CONSOLE_DOCS }, async (request, reply) => {
    reply.code(202)
    return print(request, await servers.activateConsole(sessionOf(request), request.params.id))
  })

  app.post<ById>('/servers/:id/snapshot', { schema: SNAPSHOT_DOCS }, async (request, reply) => {
    const { shown, image } = await servers.snapshot(sessionOf(request), request.params.id)
    linkSnapshot(reply, urlOf(baseOf(request, deps), 'images', image.id))
    return print(request, shown)
  })

  app.post<ById>('/servers/:id/resize', { schema: RESIZE_DOCS }, async (request) => {
    // What is not there, or somebody else's, is not told apart by the kind of refusal.
    await servers.show(sessionOf(request), request.params.id)
    throw new LibraryError('invalid', 'new_type: the type of a server cannot be changed', {
      hint: 'Make a snapshot of it, and build a server of the other type from that.',
    })
  })
}

/** Clients take the id of the image from the fourth element of the path. */
function linkSnapshot(reply: FastifyReply, url: string): void {
  reply.code(202).header('link', `<${url}>; rel=snapshot`)
}

function optionsFor(request: FastifyRequest, deps: Pick<ApiDeps, 'publicUrl' | 'sshAddress'>) {
  const base = baseOf(request, deps)
  // Where ports listen on every address, the host that answered this request is one of them.
  const sshHost = /^(?:0\.0\.0\.0|::)$/.test(deps.sshAddress) ? new URL(base).hostname : deps.sshAddress
  return { base, sshHost }
}

const LOCKS = { lock: 'Forbid destroying it', unlock: 'Allow destroying it' } as const

const ACTIONS = {
  start: 'Start a server that does not run',
  stop: 'Take its power away',
  shutdown: 'Press its power button; what the guest makes of that is its own business',
  reboot: 'Ask the guest to start again',
  reset: 'Press its reset button',
} as const

const tag = 'servers'

const actionDocs = (id: string, summary: string) =>
  docs({ tag, id, summary, answers: { 202: named(ServerSchema) } })

const LIST_DOCS = docs({
  tag,
  id: 'listServers',
  summary: "List the account's servers, oldest first, with those that were deleted lately",
  answers: { 200: listOf(ServerSchema) },
})

const SHOW_DOCS = docs({
  tag,
  id: 'showServer',
  summary: 'Show a server',
  answers: { 200: named(ServerSchema) },
})

const CREATE_DOCS = {
  ...actionDocs('createServer', 'Build a server from an image; nothing waits for the size of the image'),
  body: named(ServerCreateSchema),
}

const UPDATE_DOCS = {
  ...docs({
    tag,
    id: 'updateServer',
    summary: 'Change what is named',
    answers: { 200: named(ServerSchema) },
  }),
  body: named(ServerUpdateSchema),
}

const DESTROY_DOCS = actionDocs('destroyServer', 'Destroy a server and its disk; the two stay readable')

const CONSOLE_DOCS = {
  ...actionDocs('activateServerConsole', 'Make a token for its consoles; one made before is void'),
  description:
    'The answer has `console_url`, `console_token` and `console_token_expires`, 15 minutes from now. A WebSocket ' +
    'client attaches to `{console_url}/serial` (what the guest says on its first serial port, with the last 64 KiB ' +
    'of what it said before) or `{console_url}/vnc` (RFB), with `?password={console_token}` or with the ' +
    'subprotocols `binary` and `token.{console_token}`. Messages are binary, in both directions. A client that is ' +
    'attached stays so when the token expires.',
}

const SNAPSHOT_DOCS = {
  ...actionDocs('snapshotServer', 'Make an image of its disk as it is at this moment'),
  description: 'The header `Link: <…/1.0/images/img-…>; rel=snapshot` names the image, in status `creating`.',
}

const RESIZE_DOCS = {
  ...docs({ tag, id: 'resizeServer', summary: 'Always refused: types cannot be changed', answers: {} }),
  body: Type.Optional(Type.Unknown()),
}
