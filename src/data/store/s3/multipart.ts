import { type ByteStream, MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { headerOf, Unwelcome } from './answers.ts'
import type { Ask } from './client.ts'
import { completeRequest, expectResult, parseUploadId, StrangeAnswer } from './xml.ts'

/** In memory at once; S3 takes 10,000 parts of it, more than any manifest has. */
const PART_SIZE = 8 * MiB

export interface PutInParts {
  readonly ask: Ask
  readonly key: string
  /** Of the whole object. */
  readonly headers: Readonly<Record<string, string>>
  /** Puts all of it in one request. */
  readonly putWhole: (bytes: Uint8Array) => Promise<void>
  /** Whether the object is there with what `headers` say of it. */
  readonly isThere: () => Promise<boolean>
  readonly bytes: Iterable<Uint8Array> | ByteStream
}

/** Puts a stream: in one request where it is short, else in parts, of which nothing is visible before the last. */
export async function putInParts(parts: PutInParts): Promise<void> {
  const { ask, key, headers, putWhole, isThere, bytes } = parts
  let id: string | undefined
  const tags: string[] = []
  const sendPart = async (body: Uint8Array) => {
    id ??= await ask({ method: 'POST', key, query: { uploads: '' }, headers }, (answer) =>
      parseUploadId(answer.body.toString()),
    )
    const query = { partNumber: String(tags.length + 1), uploadId: id }
    tags.push(
      await ask({ method: 'PUT', key, query, body }, (answer) => {
        const tag = headerOf(answer, 'etag')
        if (tag === undefined) throw new StrangeAnswer('a part has no ETag')
        return tag
      }),
    )
  }
  try {
    let last: Uint8Array = new Uint8Array(0)
    for await (const { part, isLast } of partsOf(bytes)) {
      if (isLast) last = part
      else await sendPart(part)
    }
    if (id === undefined) return await putWhole(last)
    if (last.length > 0) await sendPart(last)
    const body = completeRequest(tags)
    try {
      await ask({ method: 'POST', key, query: { uploadId: id }, body }, (answer) =>
        expectResult(answer.body.toString(), 'CompleteMultipartUploadResult'),
      )
    } catch (error) {
      // It is gone where it was completed already, and the answer was lost.
      if (!isNoSuchUpload(error) || !(await isThere())) throw error
    }
  } catch (error) {
    if (id !== undefined) await dropUpload(ask, key, id)
    throw error
  }
}

const isNoSuchUpload = (error: unknown): boolean =>
  error instanceof LibraryError && error.cause instanceof Unwelcome && error.cause.code === 'NoSuchUpload'

/** What is not dropped here, the bucket's own rules may (`AbortIncompleteMultipartUpload`). */
async function dropUpload(ask: Ask, key: string, uploadId: string): Promise<void> {
  try {
    await ask({ method: 'DELETE', key, query: { uploadId } }, () => undefined)
  } catch {
    // The error that brought us here is the one to be told.
  }
}

/** Cuts a stream into parts that are valid until the next one is asked for; the last may be shorter or empty. */
async function* partsOf(bytes: PutInParts['bytes']): AsyncGenerator<{ part: Uint8Array; isLast: boolean }> {
  let room = new Uint8Array(64 * 1024)
  let filled = 0
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length; ) {
      if (filled === PART_SIZE) {
        yield { part: room, isLast: false }
        filled = 0
      }
      if (filled === room.length) room = grown(room)
      const count = Math.min(room.length - filled, chunk.length - at)
      room.set(chunk.subarray(at, at + count), filled)
      filled += count
      at += count
    }
  }
  yield { part: room.subarray(0, filled), isLast: true }
}

function grown(room: Uint8Array): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(PART_SIZE, room.length * 2))
  larger.set(room)
  return larger
}
