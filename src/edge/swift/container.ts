import { assert } from '#base/errors.ts'
import type { ContainerChange, ContainerInfo } from '#control/orbit/orbit.ts'
import type { Caller, ContainerPath } from '#model/orbit.ts'
import { type Exchange, type Headers, headerOf } from './exchange.ts'
import { chooseType, readListQuery, sendListing, typeHeaders } from './listing.ts'
import { printMetadata, readMetadataChange } from './metadata.ts'
import { decodePercent, encodePath } from './path.ts'
import { SwiftProblem, sendEmpty } from './reply.ts'
import { printHttpDate, printTimestamp } from './times.ts'

/** The only storage policy that there is. */
export const POLICY = 'Policy-0'

/** GET and HEAD. */
export async function showContainer(exchange: Exchange, caller: Caller): Promise<void> {
  const { containers } = exchange.deps.orbit
  const path = containerPathOf(exchange)
  const type = chooseType(exchange)
  const headers = typeHeaders(exchange, type)
  if (exchange.method === 'HEAD') {
    describe(await containers.show(caller, path), headers)
    return sendEmpty(exchange, 204, headers)
  }
  const { info, rows } = await containers.list(caller, path, readListQuery(exchange))
  describe(info, headers)
  sendListing(exchange, headers, type, rows)
}

/** PUT: 201 for a new one, 202 where it was there. */
export async function putContainer(exchange: Exchange, caller: Caller): Promise<void> {
  const policy = headerOf(exchange, 'x-storage-policy')
  if (policy && policy.toLowerCase() !== POLICY.toLowerCase()) {
    throw new SwiftProblem(400, `Invalid X-Storage-Policy '${policy}'`)
  }
  const { containers } = exchange.deps.orbit
  const isNew = await containers.put(caller, containerPathOf(exchange), readChange(exchange))
  sendEmpty(exchange, isNew ? 201 : 202)
}

/** POST. */
export async function updateContainer(exchange: Exchange, caller: Caller): Promise<void> {
  await exchange.deps.orbit.containers.update(caller, containerPathOf(exchange), readChange(exchange))
  sendEmpty(exchange, 204)
}

/** DELETE. */
export async function deleteContainer(exchange: Exchange, caller: Caller): Promise<void> {
  await exchange.deps.orbit.containers.remove(caller, containerPathOf(exchange))
  sendEmpty(exchange, 204)
}

function containerPathOf({ path: { account, container } }: Exchange): ContainerPath {
  assert(container !== undefined, 'a path with a container')
  return { account, container }
}

function readChange(exchange: Exchange): ContainerChange {
  const metadata = readMetadataChange(exchange, 'container')
  const read = readSetting(exchange, 'container-read')
  const write = readSetting(exchange, 'container-write')
  const versions = readVersions(exchange)
  return {
    metadata,
    ...(read === undefined ? {} : { read }),
    ...(write === undefined ? {} : { write }),
    ...(versions === undefined ? {} : { versions }),
  }
}

/** @returns undefined where it stays as it is, null where it is to go */
function readSetting(exchange: Exchange, name: string): string | null | undefined {
  const value = headerOf(exchange, `x-${name}`)
  if (value) return value
  return value === '' || headerOf(exchange, `x-remove-${name}`) !== undefined ? null : undefined
}

function readVersions(exchange: Exchange): ContainerChange['versions'] {
  const stack = readSetting(exchange, 'versions-location')
  const history = readSetting(exchange, 'history-location')
  if (stack && history) {
    throw new SwiftProblem(400, 'Only one of X-History-Location or X-Versions-Location may be specified')
  }
  const value = stack || history
  if (!value) return stack === null || history === null ? null : undefined
  const container = decodePercent(value)
  if (!container || container.includes('/')) {
    throw new SwiftProblem(
      412,
      `${stack ? 'X-Versions-Location' : 'X-History-Location'} must be a container name`,
    )
  }
  return { mode: stack ? 'stack' : 'history', container }
}

function describe(info: ContainerInfo, headers: Headers): void {
  const { objectCount, bytesUsed, createdAt, updatedAt, metadata, read, write, versions } = info
  headers['X-Container-Object-Count'] = String(objectCount)
  headers['X-Container-Bytes-Used'] = String(bytesUsed)
  headers['X-Timestamp'] = printTimestamp(createdAt)
  headers['Last-Modified'] = printHttpDate(updatedAt)
  headers['X-Storage-Policy'] = POLICY
  if (read !== undefined) headers['X-Container-Read'] = read
  if (write !== undefined) headers['X-Container-Write'] = write
  if (versions) {
    const name = versions.mode === 'stack' ? 'X-Versions-Location' : 'X-History-Location'
    headers[name] = encodePath(versions.container)
  }
  printMetadata('container', metadata, headers)
}
