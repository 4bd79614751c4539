import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { App } from '#edge/http/app.ts'
import { requestSignal } from '#edge/http/close-signal.ts'
import { ClientGone, HttpProblem } from '#edge/http/problems.ts'
import { parseContentRange, type SentRange } from '#edge/http/ranges.ts'
import { ImageSchema, UploadSchema } from '#schema/image.ts'
import { printUpload } from '#schema/print-image.ts'
import { sessionOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import { type ById, printFor } from './images.ts'
import { docs, named } from './route-docs.ts'

/** Receives the bytes of an image that was registered with `upload: true`; a broken upload can be taken up again. */
export function uploadRoutes(app: App, deps: ApiDeps): void {
  const { uploads, show } = deps.library
  // Bytes are bytes, whatever the client calls them: they are read as they come.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))

  app.get<ById>('/images/:id/upload', { schema: SHOW_DOCS }, async (request, reply) => {
    const upload = await uploads.show(sessionOf(request), request.params.id)
    reply.header('upload-offset', upload.received)
    return printUpload(upload)
  })

  app.put<ById>('/images/:id/upload', { schema: RECEIVE_DOCS }, async (request, reply) => {
    const session = sessionOf(request)
    const { id } = request.params
    const range = readRange(request)
    const bytes = atMost(readBody(request.raw), range?.length)
    const total = range ? range.total : lengthOf(request)
    const options = { signal: requestSignal(request.raw), total }
    const upload = await uploads.receive(session, id, range?.offset ?? 0, bytes, options)
    // From here on all bytes are with us, and the client may be gone.
    const isEnd = range === undefined && !upload.isComplete
    const image = isEnd ? await uploads.finish(session, id) : await show(session, id)
    reply.code(202).header('upload-offset', upload.received)
    return printFor(request, image, deps)
  })
}

/** Without Content-Range the body is the whole upload. */
function readRange(request: FastifyRequest): SentRange | undefined {
  const header = request.headers['content-range']
  if (header === undefined) return undefined
  const range = parseContentRange(header)
  if (!range) {
    throw new HttpProblem(400, 'bad_request', ['Content-Range must be bytes FIRST-LAST/TOTAL or …/*'])
  }
  return range
}

/** Where the body is the whole upload: its length, unless it comes in chunks. */
function lengthOf({ headers }: FastifyRequest): number | undefined {
  const length = headers['content-length']
  return length === undefined ? undefined : Number(length)
}

/**
 * The body of a request. Where the client goes away after its last byte, what had arrived is still read: Node keeps it
 * but ends a plain iteration with an error.
 */
async function* readBody(raw: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    yield* raw
  } catch {
    if (!raw.complete) throw new ClientGone()
    for (let rest = raw.read() as Buffer | null; rest !== null; rest = raw.read() as Buffer | null) yield rest
  }
}

/** Passes on what was announced and refuses any more, so that an upload never holds bytes nobody meant. */
async function* atMost(bytes: AsyncIterable<Uint8Array>, length = Number.POSITIVE_INFINITY) {
  let received = 0
  for await (const chunk of bytes) {
    received += chunk.length
    if (received > length) {
      throw new HttpProblem(400, 'bad_request', [`the body is longer than the ${length} bytes announced`])
    }
    yield chunk
  }
}

const SHOW_DOCS = docs({
  tag: 'images',
  id: 'showUpload',
  summary: 'Say how far an upload is; HEAD answers with Upload-Offset alone',
  answers: { 200: named(UploadSchema) },
})

const RECEIVE_DOCS = {
  ...docs({
    tag: 'images',
    id: 'uploadImage',
    summary: 'Send the bytes of an image',
    answers: { 202: named(ImageSchema) },
  }),
  description:
    'Without Content-Range the body is the whole image. With `Content-Range: bytes FIRST-LAST/TOTAL`, FIRST ' +
    'being the Upload-Offset, it is a part; registration starts once TOTAL bytes are there.',
  consumes: ['application/octet-stream'],
  headers: Type.Object({
    'content-range': Type.Optional(Type.String({ description: 'bytes FIRST-LAST/TOTAL' })),
  }),
}
