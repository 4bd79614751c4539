import { LibraryError } from '#base/errors.ts'
import type { App } from '#edge/http/app.ts'
import { printServerType, printZone, ServerTypeSchema, ZoneSchema } from '#schema/place.ts'
import { baseOf, sessionOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ById } from './images.ts'
import { docs, listOf, named } from './route-docs.ts'

/** What servers can be built as, and where. */
export function placeRoutes(app: App, deps: ApiDeps): void {
  const { library } = deps

  app.get('/zones', { schema: ZONES }, async (request) =>
    (await library.zones(sessionOf(request))).map((zone) => printZone(zone, baseOf(request, deps))),
  )
  app.get<ById>('/zones/:id', { schema: ZONE }, async (request) => {
    const zones = await library.zones(sessionOf(request))
    return printZone(find(zones, request.params.id, 'zone'), baseOf(request, deps))
  })
  app.get('/server_types', { schema: TYPES }, async (request) =>
    (await library.serverTypes(sessionOf(request))).map((type) =>
      printServerType(type, baseOf(request, deps)),
    ),
  )
  app.get<ById>('/server_types/:id', { schema: TYPE }, async (request) => {
    const types = await library.serverTypes(sessionOf(request))
    return printServerType(find(types, request.params.id, 'server type'), baseOf(request, deps))
  })
}

function find<T extends { readonly id: string }>(items: readonly T[], id: string, kind: string): T {
  const item = items.find((item) => item.id === id)
  if (!item) throw new LibraryError('not_found', `there is no such ${kind}`)
  return item
}

const tag = 'places'
const ZONES = docs({ tag, id: 'listZones', summary: 'List the zones', answers: { 200: listOf(ZoneSchema) } })
const ZONE = docs({ tag, id: 'showZone', summary: 'Show a zone', answers: { 200: named(ZoneSchema) } })
const TYPES = docs({
  tag,
  id: 'listServerTypes',
  summary: 'List the sizes that servers come in',
  answers: { 200: listOf(ServerTypeSchema) },
})
const TYPE = docs({
  tag,
  id: 'showServerType',
  summary: 'Show a size that servers come in',
  answers: { 200: named(ServerTypeSchema) },
})
