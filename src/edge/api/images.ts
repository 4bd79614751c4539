import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { App } from '#edge/http/app.ts'
import type { ShownImage } from '#model/shown-image.ts'
import {
  type ImageCreateJson,
  ImageCreateSchema,
  ImageSchema,
  type ImageUpdateJson,
  ImageUpdateSchema,
  parseImageCreate,
  parseImageUpdate,
  parseSnapshot,
} from '#schema/image.ts'
import { printImage } from '#schema/print-image.ts'
import { baseOf, sessionOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import { readIntegerQuery, readQuery } from './query.ts'
import { docs, listOf, named } from './route-docs.ts'

export interface ById {
  Params: { id: string }
}

/** Images as their owner and everybody else see and change them. */
export function imageRoutes(app: App, deps: ApiDeps): void {
  const { library, servers } = deps
  const print = (request: FastifyRequest, image: ShownImage) => printFor(request, image, deps)
  const one = { 200: named(ImageSchema) }

  async function create(request: FastifyRequest<{ Body: ImageCreateJson }>): Promise<ShownImage> {
    const session = sessionOf(request)
    const { host, ip } = request
    const wanted = parseSnapshot(request.body)
    if (!wanted) return library.register(session, parseImageCreate(request.body), { host, ip })
    const serverId =
      'server' in wanted.of
        ? wanted.of.server
        : (await servers.showVolume(session, wanted.of.volume)).server.id
    const { image } = await servers.snapshot(session, serverId)
    return library.update(session, image.id, wanted.attributes)
  }

  app.get('/images', { schema: LIST_DOCS }, async (request, reply) => {
    const limit = readIntegerQuery(request, 'limit', { min: 1, max: 1000 })
    const after = readQuery(request, 'after')
    const name = readQuery(request, 'name')
    const images = await library.list(sessionOf(request), {
      ...(name === undefined ? {} : { name }),
      ...(limit === undefined ? {} : { limit }),
      ...(after === undefined ? {} : { after }),
    })
    const last = images.at(-1)
    if (last && images.length === limit) reply.header('link', nextPage(request, last.id, deps))
    return images.map((image) => print(request, image))
  })

  app.post<{ Body: ImageCreateJson }>('/images', { schema: CREATE_DOCS }, async (request, reply) => {
    const body = print(request, await create(request))
    reply.code(201).header('location', body.url)
    return body
  })

  const show = docs({ tag: 'images', id: 'showImage', summary: 'Show an image', answers: one })
  app.get<ById>('/images/:id', { schema: show }, async (request) =>
    print(request, await library.show(sessionOf(request), request.params.id)),
  )

  app.put<ById & { Body: ImageUpdateJson }>('/images/:id', { schema: UPDATE_DOCS }, async (request) => {
    const attributes = parseImageUpdate(request.body)
    return print(request, await library.update(sessionOf(request), request.params.id, attributes))
  })

  app.delete<ById>('/images/:id', { schema: DESTROY_DOCS }, async (request, reply) => {
    reply.code(202)
    return print(request, await library.destroy(sessionOf(request), request.params.id))
  })

  const lock = docs({ tag: 'images', id: 'lockImage', summary: 'Forbid destroying it', answers: one })
  app.put<ById>('/images/:id/lock_resource', { schema: lock }, async (request) =>
    print(request, await library.lock(sessionOf(request), request.params.id)),
  )

  const unlock = docs({ tag: 'images', id: 'unlockImage', summary: 'Allow destroying it', answers: one })
  app.put<ById>('/images/:id/unlock_resource', { schema: unlock }, async (request) =>
    print(request, await library.unlock(sessionOf(request), request.params.id)),
  )
}

/** Prints an image for whoever asks: where its bytes came from is shown to its own account alone. */
export const printFor = (request: FastifyRequest, image: ShownImage, deps: Pick<ApiDeps, 'publicUrl'>) =>
  printImage(image, {
    base: baseOf(request, deps),
    own: image.accountId === sessionOf(request).accountId,
  })

function nextPage(request: FastifyRequest, after: string, deps: ApiDeps): string {
  const query = new URLSearchParams(request.url.slice(request.url.indexOf('?') + 1))
  query.set('after', after)
  return `<${baseOf(request, deps)}/1.0/images?${query}>; rel="next"`
}

const LIST_DOCS = docs({
  tag: 'images',
  id: 'listImages',
  summary: "List the account's own images and everybody's public ones, oldest first",
  answers: { 200: listOf(ImageSchema) },
  query: {
    limit: Type.Optional(Type.String({ description: '1 to 1000 images; without it the list is complete' })),
    after: Type.Optional(Type.String({ description: 'the id of the last image of the page before' })),
    name: Type.Optional(
      Type.String({
        description:
          'only images with a word in their name that begins so, in upper or lower case; ' +
          'in the order of that word and what follows it',
        maxLength: 255,
      }),
    ),
  },
})

const CREATE_DOCS = {
  ...docs({
    tag: 'images',
    id: 'registerImage',
    summary: "Register an image from a URL, from bytes that are sent afterwards, or from a server's disk",
    answers: { 201: named(ImageSchema) },
  }),
  body: named(ImageCreateSchema),
}

const UPDATE_DOCS = {
  ...docs({
    tag: 'images',
    id: 'updateImage',
    summary: 'Change what is named',
    answers: { 200: named(ImageSchema) },
  }),
  body: named(ImageUpdateSchema),
}

const DESTROY_DOCS = docs({
  tag: 'images',
  id: 'destroyImage',
  summary: 'Destroy an image; in whatever phase, a registration under way is cancelled',
  answers: { 202: named(ImageSchema) },
})
