import { createHash } from 'node:crypto'
import { assert } from '#base/errors.ts'
import {
  type BulkOutcome,
  type ObjectInfo,
  OrbitRefusal,
  type StaticSegmentRow,
} from '#control/orbit/orbit.ts'
import { printManifest } from '#control/orbit/static-manifests.ts'
import type { Caller, ObjectPath } from '#model/orbit.ts'
import { type Exchange, headerOf } from './exchange.ts'
import { readAttributes } from './metadata.ts'
import { bestOutcomeType, sendOutcome } from './outcome.ts'
import { encodePath } from './path.ts'
import { SwiftProblem, sendBytes, sendEmpty, sendPage } from './reply.ts'
import { etagOf, objectHeaders, sendObject, sendObjectHead, sendUnlessWanted } from './send-object.ts'
import { printHttpDate } from './times.ts'

/** GET and HEAD. */
export async function showObject(exchange: Exchange, caller: Caller): Promise<void> {
  const { objects } = exchange.deps.orbit
  const path = objectPathOf(exchange)
  const manifest = wantsManifest(exchange)
  try {
    if (exchange.method === 'HEAD' || manifest) {
      const info = await objects.show(caller, path, { manifest })
      if (manifest && info.manifestEtag !== undefined) return await showSegments(exchange, caller, info)
      if (exchange.method === 'HEAD') return sendObjectHead(exchange, info)
    }
    await using located = await objects.locate(caller, path, { manifest })
    await sendObject(exchange, located)
  } catch (error) {
    // "Whatever is there" is a condition that nothing does not meet.
    const isMissing = error instanceof OrbitRefusal && error.kind === 'not_found'
    if (isMissing && headerOf(exchange, 'if-match')?.trim() === '*') return sendPage(exchange, 412)
    throw error
  }
}

/** POST: what is not said again is gone. */
export async function updateObject(exchange: Exchange, caller: Caller): Promise<void> {
  await exchange.deps.orbit.objects.update(caller, objectPathOf(exchange), readAttributes(exchange))
  sendPage(exchange, 202)
}

/** DELETE, also of a static large object with its segments. */
export async function deleteObject(exchange: Exchange, caller: Caller): Promise<void> {
  const { objects } = exchange.deps.orbit
  const path = objectPathOf(exchange)
  if (!/^\s*\d+\s*$/.test(headerOf(exchange, 'x-if-delete-at') ?? '0')) {
    throw new SwiftProblem(400, 'Bad X-If-Delete-At header value')
  }
  if (exchange.query.get('multipart-manifest') !== 'delete') {
    await objects.remove(caller, path)
    return sendEmpty(exchange, 204)
  }
  const outcome = await removeStatic(exchange, caller, path)
  sendOutcome(exchange, bestOutcomeType(exchange), 'delete', outcome)
}

/** What is not there, or is no static large object, is told in the report. */
async function removeStatic(exchange: Exchange, caller: Caller, path: ObjectPath): Promise<BulkOutcome> {
  try {
    return await exchange.deps.orbit.objects.removeStatic(caller, path)
  } catch (error) {
    if (!(error instanceof OrbitRefusal)) throw error
    if (error.kind === 'not_found') return { deleted: 0, notFound: 1, errors: [] }
    if (error.kind !== 'invalid') throw error
    const name = encodePath(`/${path.container}/${path.object}`)
    return { deleted: 0, notFound: 0, errors: [[name, error.message]] }
  }
}

/** The path of a request whose address names an object. */
export function objectPathOf({ path: { account, container, object } }: Exchange): ObjectPath {
  assert(container !== undefined && object !== undefined, 'a path with an object')
  return { account, container, object }
}

/** Whether the manifest of a large object is asked for instead of what it stands for. */
export const wantsManifest = ({ query }: Exchange): boolean => query.get('multipart-manifest') === 'get'

/** Answers that an object was written. */
export function sendCreated(exchange: Exchange, info: ObjectInfo): void {
  sendEmpty(exchange, 201, { Etag: etagOf(info), 'Last-Modified': printHttpDate(info.modifiedAt) })
}

/** The rows of a static large object, as they are stored or as a PUT would have them. */
async function showSegments(exchange: Exchange, caller: Caller, info: ObjectInfo): Promise<void> {
  const { segments } = await exchange.deps.orbit.objects.showStatic(caller, objectPathOf(exchange))
  const isRaw = exchange.query.get('format') === 'raw'
  const body = Buffer.from(isRaw ? printEntries(segments) : printManifest(segments))
  const etag = createHash('md5').update(body).digest('hex')
  const headers = objectHeaders(info)
  headers.Etag = etag
  if (!isRaw) headers['Content-Type'] = 'application/json; charset=utf-8'
  headers['X-Static-Large-Object'] = 'True'
  delete headers['Accept-Ranges']
  if (sendUnlessWanted(exchange, { etag, modifiedAt: info.modifiedAt }, headers)) return
  sendBytes(exchange, 200, headers, body)
}

/** What made the large object, to be sent again. */
const printEntries = (segments: readonly StaticSegmentRow[]): string =>
  JSON.stringify(
    segments.map((row) =>
      row.kind === 'data'
        ? { data: Buffer.from(row.bytes).toString('base64') }
        : {
            path: row.name,
            etag: row.hash,
            size_bytes: row.bytes,
            ...(row.range === undefined ? {} : { range: row.range }),
          },
    ),
  )

/** @throws SwiftProblem where a header is there that only Orbit itself sets */
export function refuseReserved(exchange: Exchange): void {
  if (headerOf(exchange, 'x-static-large-object') === undefined) return
  throw new SwiftProblem(
    400,
    'X-Static-Large-Object is a reserved header. ' +
      'To create a static large object add query param multipart-manifest=put.',
  )
}
