import { LibraryError } from '#base/errors.ts'
import type { ImportLimits } from '#base/limits.ts'
import { type Answer, exchange } from './exchange.ts'
import { downloadFailure } from './failure.ts'
import type { Pace } from './pace.ts'
import type { Pins } from './pins.ts'
import { parseSourceUrl } from './source-url.ts'

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

export interface FollowRequest {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly limits: ImportLimits
  readonly bodyLimit: number
  readonly pins: Pins
  readonly pace: Pace
  readonly signal: AbortSignal
}

/**
 * Asks for a URL and follows redirects, each hop under the rules of the first. Nothing but our own fixed headers is
 * carried along, so there are no credentials to leak.
 * @returns the first answer that is no redirect, and where it came from
 */
export async function follow(request: FollowRequest): Promise<Answer & { readonly url: URL }> {
  const { pins, limits, signal } = request
  let url = request.url
  for (let hop = 0; hop <= limits.redirects; hop++) {
    const addresses = await pins(url, signal)
    const answer = await exchange({ ...request, url, addresses })
    if (!REDIRECTS.has(answer.head.status)) return { ...answer, url }
    answer.body.close()
    url = target(url, answer.head.header('location'))
  }
  throw downloadFailure(`more than ${limits.redirects} redirects`, {
    retryable: false,
    hint: 'Use the URL that the redirects lead to, if there is one.',
  })
}

const REDIRECT_HINT = 'Use the final URL of the file.'

function target(from: URL, location: string | undefined): URL {
  const refuse = (why: string, cause?: unknown) =>
    downloadFailure(`a redirect ${why}`, { retryable: false, hint: REDIRECT_HINT, cause })
  if (location === undefined || location === '') throw refuse('does not say where to')
  // Headers are read as latin1; what servers send there unescaped is UTF-8.
  const text = Buffer.from(location, 'latin1').toString('utf8')
  if (!URL.canParse(text, from.href)) throw refuse('leads to a URL that cannot be read')
  const url = parseHop(new URL(text, from.href).href, (error) =>
    refuse(`breaks a rule: its ${error.message}`, error),
  )
  if (from.protocol === 'https:' && url.protocol === 'http:') {
    throw refuse('leads from https to http, which is not safe')
  }
  return url
}

function parseHop(text: string, refuse: (error: LibraryError) => Error): URL {
  try {
    return parseSourceUrl(text)
  } catch (error) {
    throw error instanceof LibraryError ? refuse(error) : error
  }
}
