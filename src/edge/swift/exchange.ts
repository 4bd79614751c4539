import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyBaseLogger } from 'fastify'
import type { Shares } from '#base/shares.ts'
import type { Auth } from '#control/auth/auth.ts'
import type { Orbit } from '#control/orbit/orbit.ts'
import type { ContentStore } from '#data/content/content.ts'
import type { Surroundings } from '#edge/http/intercept.ts'
import type { Readiness } from '#edge/http/probes.ts'
import type { Caller } from '#model/orbit.ts'
import type { Query, SwiftPath } from './path.ts'

/** What the Swift API is a face of. */
export interface SwiftDeps {
  readonly orbit: Orbit
  readonly content: Pick<ContentStore, 'openReader'>
  readonly auth: Pick<Auth, 'orbit'>
  /** Scheme and host that storage URLs begin with; by default those that the client asked for. */
  readonly publicUrl?: string
  /** Why requests cannot be served now. */
  readonly readiness: Readiness
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** Values by name in title case (`X-Object-Meta-Colour`), one character a byte. */
export type Headers = Record<string, string>

/** One request and its answer. */
export interface Exchange {
  readonly deps: SwiftDeps
  readonly surroundings: Surroundings
  readonly raw: IncomingMessage
  readonly response: ServerResponse
  readonly method: string
  readonly path: SwiftPath
  readonly query: Query
  /** Bytes of lists that are in memory as long as clients take to send or to read them, of all together. */
  readonly texts: Shares
  /** Processes that unpack archives, of all requests together. */
  readonly unpacking: Shares
  /** Undefined until it is known. */
  caller: Caller | undefined
  /** Of the request: `cut` where its rest will not come, or cannot be read. */
  body: 'unread' | 'reading' | 'cut'
  /** Ends the reading of the body, with this status. */
  cut: ((status: number) => void) | undefined
  /** The status of a body that was cut before anybody read it. */
  cutStatus: number | undefined
  readonly transId: string
  readonly log: FastifyBaseLogger
  /** Change the headers of whatever answer it will be, just before they are sent. */
  readonly finishers: ((headers: Headers, status: number) => void)[]
}

/** A header of the request, repeated ones joined; names in lower case. */
export function headerOf({ raw }: Pick<Exchange, 'raw'>, name: string): string | undefined {
  const value = raw.headers[name]
  return Array.isArray(value) ? value.join(',') : value
}

/** `tx`, 21 hex digits, a dash and the time: what people name a request by when they ask for help. */
export function createTransId(raw: IncomingMessage, nowMs: number): string {
  const id = randomUUID().replaceAll('-', '').slice(0, 21)
  const seconds = Math.floor(nowMs / 1000)
    .toString(16)
    .padStart(10, '0')
  const extra = raw.headers['x-trans-id-extra']
  const suffix = typeof extra === 'string' ? `-${encodeURIComponent(extra.slice(0, 32))}` : ''
  return `tx${id}-${seconds}${suffix}`
}
