import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { App } from '#edge/http/app.ts'
import { sendBytes } from '#edge/http/send-bytes.ts'
import { IMAGE_FORMS } from '#schema/image.ts'
import { sessionOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ById } from './images.ts'
import { readWordQuery } from './query.ts'
import { docs } from './route-docs.ts'

/** The bytes of an image, in any of the forms it can be read in. */
export function downloadRoutes(app: App, { library, openForm }: ApiDeps): void {
  async function send(request: FastifyRequest<ById>, reply: FastifyReply): Promise<FastifyReply> {
    const kind = readWordQuery(request, 'format', IMAGE_FORMS) ?? 'lz4'
    const image = await library.use(sessionOf(request), request.params.id)
    // Whatever the log says of this request names its image.
    request.log = request.log.child({ image: image.id })
    // A slow download may outlive the image: its blocks must not be collected under it.
    await using _pin = await library.acquirePins([image.manifest])
    await using form = await openForm(image.manifest, kind)
    reply.headers({
      'content-disposition': attachment(image.name || image.id, form.fileSuffix),
      'x-image-digest': `sha256:${image.manifest}`,
      'cache-control': 'private, no-cache',
    })
    return await sendBytes(request, reply, form)
  }
  app.get<ById>('/images/:id/download', { schema: DOCS, exposeHeadRoute: false }, send)
  app.head<ById>('/images/:id/download', { schema: { hide: true } }, send)
}

/** A Content-Disposition with a name for old clients and, where that lost something, one for all others (RFC 6266). */
function attachment(name: string, suffix: string): string {
  const safe = name.replace(/[^\w.-]+/g, '_')
  const full = name.replace(/[/\\]+/g, '_') + suffix
  const extended = safe === name ? '' : `; filename*=UTF-8''${encodeExtended(full)}`
  return `attachment; filename="${safe}${suffix}"${extended}`
}

/** RFC 8187 allows less than `encodeURIComponent` leaves alone. */
const encodeExtended = (text: string): string =>
  encodeURIComponent(text.toWellFormed()).replace(
    /['()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  )

const DOCS = {
  ...docs({
    tag: 'images',
    id: 'downloadImage',
    summary: 'Read the bytes of an image; ranges and conditions work as HTTP has them',
    answers: {
      200: Type.Unsafe({ type: 'string', format: 'binary' }),
      206: Type.Unsafe({ type: 'string', format: 'binary' }),
    },
    query: {
      format: Type.Optional(Type.String({ description: 'lz4 (the default: as it is stored), raw or qcow2' })),
    },
  }),
  produces: ['application/octet-stream', 'application/x-lz4'],
}
