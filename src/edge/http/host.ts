import type { FastifyRequest } from 'fastify'
import { HttpProblem } from './problems.ts'

/** A name or an IPv4 address, or an IPv6 address in brackets, and a port; `URL` says what of that can be. */
const HOST = /^(?:[\w.-]{1,253}|\[[\da-f:.]{2,45}\])(?::\d{1,5})?$/i

/**
 * Scheme and host as the client asked for them.
 * @throws HttpProblem 400 where the Host header is missing or no host, and would so go into addresses that we print
 */
export function originOf({ protocol, host }: Pick<FastifyRequest, 'protocol' | 'host'>): string {
  const url = HOST.test(host) ? URL.parse(`${protocol}://${host}`) : null
  if (!url) throw new HttpProblem(400, 'bad_request', ['the Host header is missing or not a host'])
  return url.origin
}

/** RFC 9112 §3.2: what lacks a Host header or has a bad one is refused; before HTTP/1.1 it could be left out. */
export function checkHost(request: FastifyRequest): void {
  if (request.host !== '' || request.raw.httpVersion !== '1.0') originOf(request)
}
