import { type ObjectInfo, OrbitRefusal, type PutOptions, type StaticManifest } from '#control/orbit/orbit.ts'
import { requestSignal } from '#edge/http/close-signal.ts'
import type { Caller } from '#model/orbit.ts'
import { type Exchange, headerOf } from './exchange.ts'
import type { ListingType } from './listing.ts'
import { isTrue, readAttributes, readIfNoneMatch } from './metadata.ts'
import { objectPathOf, sendCreated } from './object.ts'
import { bestOutcomeType, printOutcome } from './outcome.ts'
import { receiveText } from './receive-body.ts'
import { answerOf } from './refusals.ts'
import { explain, statusLine, writeHead } from './reply.ts'
import { etagOf } from './send-object.ts'
import { MAX_MANIFEST_SIZE, parseEntries } from './static-entries.ts'
import { printHttpDate } from './times.ts'

/** How often a client that asked for it is told that work goes on. */
const HEARTBEAT_MS = 5000

/** PUT with `?multipart-manifest=put`: the body lists the segments of a static large object. */
export async function putStatic(exchange: Exchange, caller: Caller): Promise<void> {
  const ifNoneMatch = readIfNoneMatch(exchange)
  const attributes = readAttributes(exchange)
  await refuseEarly(exchange, caller, { attributes, ifNoneMatch })
  const body = await receiveText(exchange, MAX_MANIFEST_SIZE, `Manifest File > ${MAX_MANIFEST_SIZE} bytes`)
  const path = objectPathOf(exchange)
  const entries = parseEntries(body, `/${path.container}/${path.object}`)
  const etag = headerOf(exchange, 'etag')?.replace(/^"|"$/g, '')
  const manifest: StaticManifest = { entries, ifNoneMatch, ...(etag === undefined ? {} : { etag }) }
  const work = () => exchange.deps.orbit.objects.putStatic(caller, path, attributes, manifest)
  const type = bestOutcomeType(exchange)
  if (isTrue(exchange.query.get('heartbeat'))) return await reportAlive(exchange, type, work)
  sendCreated(exchange, await work())
}

/** Nobody's list is read into memory, and taken apart, who may not put an object there. */
async function refuseEarly(
  exchange: Exchange,
  caller: Caller,
  options: Pick<PutOptions, 'attributes' | 'ifNoneMatch'>,
): Promise<void> {
  const signal = requestSignal(exchange.raw)
  const path = objectPathOf(exchange)
  await using _upload = await exchange.deps.orbit.objects.beginPut(caller, path, { ...options, signal })
}

/** Answers at once and says later what came of it, so that no proxy on the way loses patience. */
async function reportAlive(
  exchange: Exchange,
  type: ListingType,
  work: () => Promise<ObjectInfo>,
): Promise<void> {
  const { response } = exchange
  writeHead(exchange, 202, { 'Content-Type': type })
  response.write(Buffer.from(' '))
  const timer = setInterval(() => response.write(Buffer.from(' ')), HEARTBEAT_MS)
  try {
    response.end(Buffer.from(`\r\n\r\n${await report(exchange, type, work)}`))
  } finally {
    clearInterval(timer)
  }
}

async function report(
  exchange: Exchange,
  type: ListingType,
  work: () => Promise<ObjectInfo>,
): Promise<string> {
  try {
    const info = await work()
    const values = {
      'Response Status': statusLine(201),
      'Response Body': '',
      Etag: etagOf(info),
      'Last Modified': printHttpDate(info.modifiedAt),
    }
    return printOutcome(type, 'upload', values, [])
  } catch (error) {
    const { status, text } = answerOf(exchange, error)
    const problems = error instanceof OrbitRefusal ? error.problems : []
    const values = {
      'Response Status': statusLine(status),
      'Response Body': problems.length === 0 && text !== undefined ? text : explain(status),
    }
    return printOutcome(type, 'upload', values, problems)
  }
}
