import type { CopyOptions } from '#control/orbit/orbit.ts'
import { closeSignal } from '#edge/http/close-signal.ts'
import type { Caller, ObjectPath } from '#model/orbit.ts'
import { checkConditions, hasConditions } from './conditions.ts'
import { type Exchange, headerOf } from './exchange.ts'
import { isTrue, printMetadata, readAttributes } from './metadata.ts'
import { objectPathOf, refuseReserved, wantsManifest } from './object.ts'
import { decodePercent, encodePath } from './path.ts'
import { readRanges } from './ranges.ts'
import { SwiftProblem, sendEmpty } from './reply.ts'
import { etagOf } from './send-object.ts'
import { printHttpDate } from './times.ts'

/** COPY: what the address names goes where the Destination header says. */
export async function copyObject(exchange: Exchange, caller: Caller): Promise<void> {
  const from = objectPathOf(exchange)
  const destination = headerOf(exchange, 'destination')
  if (!destination) throw new SwiftProblem(412, 'Destination header required')
  await copy(exchange, caller, from, readPath(exchange, 'Destination', destination))
}

/** PUT with X-Copy-From: what the header says comes where the address names. */
export async function copyHere(exchange: Exchange, caller: Caller): Promise<void> {
  const to = objectPathOf(exchange)
  const source = headerOf(exchange, 'x-copy-from') ?? ''
  if (Number(exchange.raw.headers['content-length'] ?? 0) > 0) {
    throw new SwiftProblem(400, 'Copy requests require a zero byte body')
  }
  await copy(exchange, caller, readPath(exchange, 'X-Copy-From', source), to)
}

/** Reads a header `[/]container/object` and the one that goes with it for another account. */
function readPath(exchange: Exchange, header: string, value: string): ObjectPath {
  const text = decodePercent(value)?.replace(/^\//, '') ?? ''
  const [container = '', ...rest] = text.split('/')
  const object = rest.join('/')
  if (container === '' || object === '' || text.includes('\0')) {
    throw new SwiftProblem(412, `${header} header must be of the form <container name>/<object name>`)
  }
  return { account: readAccount(exchange, `${header}-Account`), container, object }
}

function readAccount(exchange: Exchange, header: string): string {
  const value = headerOf(exchange, header.toLowerCase())
  if (value === undefined) return exchange.path.account
  const account = decodePercent(value) ?? ''
  if (account === '') throw new SwiftProblem(412, 'Account name cannot be empty')
  if (account.includes('/')) throw new SwiftProblem(412, 'Account name cannot contain slashes')
  return account
}

async function copy(exchange: Exchange, caller: Caller, from: ObjectPath, to: ObjectPath): Promise<void> {
  refuseReserved(exchange)
  const { objects } = exchange.deps.orbit
  const options = {
    attributes: readAttributes(exchange),
    fresh: isTrue(headerOf(exchange, 'x-fresh-metadata')),
    manifest: wantsManifest(exchange),
    signal: closeSignal(exchange.response),
  }
  const range = hasConditions(exchange) ? await readSourceRange(exchange, caller, from) : undefined
  const { info, source } = await objects.copy(caller, from, to, {
    ...options,
    ...(range === undefined ? {} : { range }),
  })
  const headers = {
    Etag: etagOf(info),
    'Last-Modified': printHttpDate(info.modifiedAt),
    'X-Copied-From': encodePath(`${from.container}/${from.object}`),
    'X-Copied-From-Account': encodePath(from.account),
    'X-Copied-From-Last-Modified': printHttpDate(source.modifiedAt),
  }
  printMetadata('object', info.metadata, headers)
  sendEmpty(exchange, 201, headers)
}

/** Conditions and ranges of the request are about the source. @throws SwiftProblem 304, 412, 416 */
async function readSourceRange(
  exchange: Exchange,
  caller: Caller,
  from: ObjectPath,
): Promise<CopyOptions['range']> {
  const info = await exchange.deps.orbit.objects.show(caller, from, { manifest: wantsManifest(exchange) })
  const status = checkConditions(exchange, info)
  if (status !== undefined) throw new SwiftProblem(status)
  const ranges = readRanges(headerOf(exchange, 'range'), info.size)
  if (ranges === 'unsatisfiable') throw new SwiftProblem(416)
  return ranges === 'all' || ranges.length > 1 ? undefined : ranges[0]
}
