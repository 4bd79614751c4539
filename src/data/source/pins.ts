import { lookup as lookupName } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { AddressRule } from './address.ts'
import { downloadFailure, networkFailure, TRY_AGAIN } from './failure.ts'
import { waitWithin } from './wait.ts'

/** Looks a host name up: every address it has, best first. */
export type Lookup = (hostname: string) => Promise<readonly string[]>

export const systemLookup: Lookup = async (hostname) =>
  (await lookupName(hostname, { all: true, order: 'verbatim' })).map(({ address }) => address)

/** Gives the addresses of a URL's host, the same ones for the whole of one import. */
export type Pins = (url: URL, signal: AbortSignal) => Promise<readonly string[]>

/** More addresses than this are checked but never tried. */
const MAX_PINNED = 4

/**
 * Looks each host up once, checks every answer, and remembers it: a second look might tell another tale
 * (docs/decisions/0013-addresses-are-pinned.md).
 */
export function createPins({
  lookup,
  isAllowed,
  timeoutMs,
}: {
  readonly lookup: Lookup
  readonly isAllowed: AddressRule
  readonly timeoutMs: number
}): Pins {
  const pinned = new Map<string, readonly string[]>()
  return async (url, signal) => {
    const hostname = url.hostname.replace(/^\[|\]$/g, '')
    const known = pinned.get(hostname)
    if (known) return known
    const answers = isIP(hostname)
      ? [hostname]
      : await waitWithin(lookup(hostname), timeoutMs, signal, lookupTimedOut).catch((error) => {
          signal.throwIfAborted()
          throw networkFailure(error)
        })
    if (answers.length === 0) {
      throw downloadFailure('the host name has no address', {
        retryable: false,
        hint: 'Check the host name.',
      })
    }
    // One bad answer among good ones is how a hostile name server tries its luck.
    const addresses = isLocalhost(hostname) ? answers.filter(isAllowed) : answers
    if (addresses.length === 0 || !addresses.every(isAllowed)) {
      throw downloadFailure("the server's address is not allowed (private, local or reserved)", {
        retryable: false,
        hint: 'Use a public address; the operator can open a range with --allow-source.',
      })
    }
    const kept = addresses.slice(0, MAX_PINNED)
    pinned.set(hostname, kept)
    return kept
  }
}

/** This name means 127.0.0.1 and ::1 at once, by no stranger's say; an operator who opens one means just that one. */
const isLocalhost = (hostname: string) => /^localhost\.?$/.test(hostname)

const lookupTimedOut = () =>
  downloadFailure('looking up the host name took too long', { retryable: true, hint: TRY_AGAIN })
