import { requestSignal } from '#edge/http/close-signal.ts'
import type { Caller } from '#model/orbit.ts'
import { copyHere } from './copy.ts'
import { type Exchange, headerOf } from './exchange.ts'
import { readAttributes, readIfNoneMatch } from './metadata.ts'
import { objectPathOf, refuseReserved, sendCreated } from './object.ts'
import { putStatic } from './put-static.ts'
import { announcedLength, receiveBody } from './receive-body.ts'

/** PUT of an object: its bytes, a copy of another one, or the manifest of a large one. */
export async function putObject(exchange: Exchange, caller: Caller): Promise<void> {
  if (headerOf(exchange, 'x-copy-from') !== undefined) return await copyHere(exchange, caller)
  const length = announcedLength(exchange)
  if (exchange.query.get('multipart-manifest') === 'put') return await putStatic(exchange, caller)
  refuseReserved(exchange)
  const ifNoneMatch = readIfNoneMatch(exchange)
  await using upload = await exchange.deps.orbit.objects.beginPut(caller, objectPathOf(exchange), {
    attributes: readAttributes(exchange),
    ...(length === undefined ? {} : { length }),
    ifNoneMatch,
    signal: requestSignal(exchange.raw),
  })
  await receiveBody(exchange, async (chunk) => {
    await upload.write(chunk)
    release(chunk)
  })
  const etag = headerOf(exchange, 'etag')?.replace(/^"|"$/g, '')
  sendCreated(exchange, await upload.finish(etag === undefined ? {} : { etag }))
}

/**
 * Gives the memory of a chunk back at once. Left to the collector it would have it run for every few dozen MiB that
 * come in; that took a quarter of the time of a large upload.
 */
function release({ buffer, length }: Uint8Array): void {
  // Memory that others use as well is not ours.
  if (length === buffer.byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0)
}
