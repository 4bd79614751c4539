import { createHash, hash } from 'node:crypto'
import { once } from 'node:events'
import type { ClientRequest } from 'node:http'
import { GiB, MiB } from '#base/bytes.ts'
import { CommandError } from './failure.ts'
import type { LocalFile } from './local-file.ts'
import { listObjects, type ObjectJson } from './object-list.ts'
import { type ObjectPlace, type Orbit, printPlace } from './orbit.ts'
import { createMeter, createProgressBar } from './progress-bar.ts'
import { persist } from './retry.ts'
import type { Session } from './session.ts'

const CHUNK_BYTES = MiB
/** Larger files go in segments, so that a broken upload goes on where it was. */
const MIN_SEGMENT = 64 * MiB
const MAX_SEGMENT = GiB
/** How many segments a file has where their size is ours to choose; Orbit takes ten times as many. */
const USUAL_SEGMENTS = 100
const MAX_SEGMENTS = 1000

export interface Put {
  readonly session: Session
  readonly orbit: Orbit
  readonly file: LocalFile
  readonly target: ObjectPlace
  /** Bytes; by default chosen by the file's size. */
  readonly segmentSize?: number | undefined
  /** Seconds after which Orbit removes what was sent. */
  readonly deleteAfter?: number
}

/** Some bytes of the file that become one object. */
interface Piece {
  readonly target: ObjectPlace
  readonly offset: number
  readonly length: number
}

type Show = (phase: string, done: number) => void

/** Bytes of a segment, a multiple of 1 MiB: so segments share their blocks, and can be put together without a copy. */
export function chooseSegmentSize(size: number): number {
  const wanted = Math.min(Math.max(size / USUAL_SEGMENTS, MIN_SEGMENT), MAX_SEGMENT)
  return Math.ceil(Math.max(wanted, size / MAX_SEGMENTS) / MiB) * MiB
}

/**
 * Sends a file as an object: a small one whole, a larger one as segments in `CONTAINER_segments` and a list of them.
 * Segments that are there already, as an earlier run of the same file left them, are not sent again.
 * @returns the object's ETag
 */
export async function putFile(put: Put): Promise<string> {
  const { session, orbit, file, target } = put
  const segmentSize = put.segmentSize ?? chooseSegmentSize(file.size)
  if (file.size > segmentSize * MAX_SEGMENTS) {
    throw new CommandError(`put ${file.path}: it would have more than ${MAX_SEGMENTS} segments`, {
      hint: 'leave --segment-size out, or choose a larger one',
    })
  }
  const bar = createProgressBar(session.terminal, `Uploading ${file.name}`)
  const meter = createMeter(file.size, 0)
  const show: Show = (phase, done) => bar.show(meter(phase, done))
  try {
    await needContainer(orbit, target.container)
    const before = await findSegments(orbit, target)
    const isWhole = file.size <= segmentSize
    const etag = isWhole ? await putWhole(put, show) : await putSegments(put, segmentSize, show)
    const kept = isWhole ? '' : prefixOf(put, segmentSize)
    for (const segment of before.filter(({ object }) => kept === '' || !object.startsWith(kept))) {
      await removeQuietly(orbit, segment)
    }
    return etag
  } finally {
    bar.end()
  }
}

/** Makes a container where it is missing. Who may not look at it may still put something into it. */
export async function needContainer(orbit: Orbit, container: string): Promise<void> {
  const attempt = `find container ${container}`
  const isThere = await orbit.head({ container }, attempt).catch((error) => {
    if (error instanceof CommandError && 'status' in error && error.status === 403) return {}
    throw error
  })
  if (isThere === undefined)
    await orbit.text('PUT', { container }, { attempt: `make container ${container}` })
}

/** As other Swift clients name them: a file that has changed since has other segments. */
const prefixOf = ({ file, target }: Put, segmentSize: number): string =>
  `${target.object}/slo/${file.mtime}/${file.size}/${segmentSize}/`

const segmentsOf = (container: string): string => `${container}_segments`

async function putWhole(put: Put, show: Show): Promise<string> {
  const piece = { target: put.target, offset: 0, length: put.file.size }
  const etag = await sumPiece(put, piece)
  await sendPiece(put, piece, etag, show)
  return etag
}

async function putSegments(put: Put, segmentSize: number, show: Show): Promise<string> {
  const { orbit, file, target } = put
  const container = segmentsOf(target.container)
  const prefix = prefixOf(put, segmentSize)
  await needContainer(orbit, container)
  const known = new Map<string, ObjectJson>()
  for await (const page of listObjects(orbit, { container, prefix })) {
    for (const row of page) if ('name' in row) known.set(row.name, row)
  }
  const entries: { path: string; etag: string; size_bytes: number }[] = []
  for (let offset = 0; offset < file.size; offset += segmentSize) {
    const object = `${prefix}${String(entries.length).padStart(8, '0')}`
    const length = Math.min(segmentSize, file.size - offset)
    const piece: Piece = { target: { container, object }, offset, length }
    const etag = await sumPiece(put, piece)
    if (known.get(object)?.hash === etag) show('uploading', offset + length)
    else await sendPiece(put, piece, etag, show)
    entries.push({ path: `/${container}/${object}`, etag, size_bytes: length })
  }
  const etag = hash('md5', entries.map((entry) => entry.etag).join(''), 'hex')
  await persist(put.session, () =>
    orbit.text('PUT', target, {
      attempt: `put ${printPlace(target)}`,
      query: { 'multipart-manifest': 'put' },
      headers: { ...headersOf(put), ETag: etag },
      body: JSON.stringify(entries),
    }),
  )
  return etag
}

const headersOf = ({ file, deleteAfter }: Put): Record<string, string> => ({
  'X-Object-Meta-Mtime': file.mtime,
  ...(deleteAfter === undefined ? {} : { 'X-Delete-After': String(deleteAfter) }),
})

async function sumPiece({ file, session }: Put, { offset, length }: Piece): Promise<string> {
  const sum = createHash('md5')
  for await (const chunk of readPiece(file, offset, length)) {
    session.signal.throwIfAborted()
    sum.update(chunk)
  }
  return sum.digest('hex')
}

/** The chunk's memory is used again for the next one. */
async function* readPiece(file: LocalFile, start: number, length: number): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  for (let offset = start; offset < start + length; offset += CHUNK_BYTES) {
    const chunk = buffer.subarray(0, Math.min(CHUNK_BYTES, start + length - offset))
    await file.read(chunk, offset)
    yield chunk
  }
}

/** Orbit keeps it only where what arrives has this MD5. */
function sendPiece(put: Put, piece: Piece, etag: string, show: Show): Promise<string> {
  const { orbit, session, file } = put
  return persist(session, () =>
    orbit.text('PUT', piece.target, {
      attempt: `upload ${file.path}`,
      headers: { ...headersOf(put), ETag: etag, 'Content-Length': String(piece.length) },
      send: (request) => writePiece(put, { ...piece, request }, show),
    }),
  )
}

async function writePiece(
  { file }: Put,
  { request, offset, length }: Piece & { readonly request: ClientRequest },
  show: Show,
): Promise<void> {
  let answered = false
  request.once('response', () => {
    answered = true
  })
  let done = offset
  for await (const chunk of readPiece(file, offset, length)) {
    if (answered) break
    // The buffer is used again, so its write must have ended by then.
    await new Promise<void>((resolve, reject) => {
      request.write(chunk, (error) => (error ? reject(error) : resolve()))
    })
    done += chunk.length
    show('uploading', done)
  }
  if (!answered) request.end()
  else await once(request, 'close').catch(() => undefined)
}

/** The segments of what stands under a name now, where they are of the kind that we make. */
async function findSegments(orbit: Orbit, target: ObjectPlace): Promise<ObjectPlace[]> {
  const attempt = `look at ${printPlace(target)}`
  const headers = await orbit.head(target, attempt).catch(() => undefined)
  if (headers?.['x-static-large-object'] === undefined) return []
  const text = await orbit.text('GET', target, { attempt, query: { 'multipart-manifest': 'get' } })
  const begin = `/${segmentsOf(target.container)}/${target.object}/slo/`
  return (JSON.parse(text) as { name?: string }[])
    .filter(({ name }) => name?.startsWith(begin))
    .map(({ name = '' }) => ({
      container: segmentsOf(target.container),
      object: name.slice(segmentsOf(target.container).length + 2),
    }))
}

/** What stays behind is in nobody's way. */
const removeQuietly = (orbit: Orbit, place: ObjectPlace) =>
  orbit.text('DELETE', place, { attempt: `remove ${printPlace(place)}` }).catch(() => undefined)
