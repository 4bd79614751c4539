import type { App } from '#edge/http/app.ts'
import { printVolume, VolumeSchema } from '#schema/volume.ts'
import { baseOf, sessionOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ById } from './images.ts'
import { docs, listOf, named } from './route-docs.ts'

/** Disks of servers: they come and go with these, and so can only be looked at. */
export function volumeRoutes(app: App, deps: ApiDeps): void {
  const { servers } = deps

  app.get('/volumes', { schema: LIST_DOCS }, async (request) => {
    const base = baseOf(request, deps)
    return (await servers.listVolumes(sessionOf(request))).map((shown) => printVolume(shown, base))
  })
  app.get<ById>('/volumes/:id', { schema: SHOW_DOCS }, async (request) =>
    printVolume(await servers.showVolume(sessionOf(request), request.params.id), baseOf(request, deps)),
  )
}

const LIST_DOCS = docs({
  tag: 'volumes',
  id: 'listVolumes',
  summary: "List the disks of the account's servers, oldest first",
  answers: { 200: listOf(VolumeSchema) },
})

const SHOW_DOCS = docs({
  tag: 'volumes',
  id: 'showVolume',
  summary: "Show a server's disk",
  answers: { 200: named(VolumeSchema) },
})
