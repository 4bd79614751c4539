import { LibraryError } from '#base/errors.ts'
import { Refusal, SourceFailure } from '#base/refusal.ts'

interface FailureOptions {
  readonly retryable: boolean
  readonly hint?: string
  readonly cause?: unknown
  readonly retryAfterMs?: number | undefined
}

/** @param why completes "The download failed: …", without a full stop; numbers only, no words of the server's */
export function downloadFailure(why: string, options: FailureOptions): SourceFailure {
  return new SourceFailure(`The download failed: ${why}.`, options)
}

/** The connection broke, or fell silent, in the middle of the body: the one fault that a resume can mend. */
export class ConnectionLost extends SourceFailure {
  /** Begins a sentence: "the connection was lost", "the server fell silent". */
  readonly what: string

  constructor(what: string, received: number, options: { cause?: unknown } = {}) {
    super(`The download failed: ${what} after ${received} bytes.`, {
      ...options,
      retryable: true,
      hint: TRY_AGAIN,
    })
    this.name = 'ConnectionLost'
    this.what = what
  }
}

export const CONNECTION_WAS_LOST = 'the connection was lost'

export const TRY_AGAIN = 'This often passes: try again later.'
const OTHER_MIRROR =
  'Try again later, or use another mirror: this server does not go on with a broken download as it should.'
const STILL_CHANGING = 'Wait until nobody changes the file any more, then register it again.'

/** What is being received is not what was begun; only reading it all anew can help. */
export function mustStartAgain(why: string, hint = OTHER_MIRROR): SourceFailure {
  return downloadFailure(`${why}, so the source has to be read again from the start`, {
    retryable: true,
    hint,
  })
}

/** The file has changed between two parts of it. */
export function fileHasChanged(): SourceFailure {
  return mustStartAgain('the file has changed during the download', STILL_CHANGING)
}

/** Bytes of a raw disk ended within a sector, and nothing had told where they were to end. */
export function endsWithinSector(received: number): SourceFailure {
  const why = `it ended within a sector, after ${received} bytes, and the server had not said how many there are`
  return downloadFailure(why, {
    retryable: true,
    hint: 'Use a mirror that sends a Content-Length, or compress the image: that has an end of its own.',
  })
}

export function sourceTooLarge(size: number, limit: number): Refusal {
  return new Refusal('too-large', `The download is ${size} bytes, more than the limit of ${limit}.`, {
    hint: 'Compress the image, or ask the operator to raise the limit.',
  })
}

/** @param retryAfterMs what the server's Retry-After says */
export function statusFailure(status: number, retryAfterMs: number | undefined): SourceFailure {
  const passing =
    status === 408 || status === 425 || status === 429 || (status >= 500 && status !== 501 && status !== 505)
  const hint = passing
    ? TRY_AGAIN
    : (STATUS_HINTS[status] ?? 'Check the URL: it must answer with the file itself.')
  return downloadFailure(`HTTP status ${status}`, { retryable: passing, hint, retryAfterMs })
}

const NEEDS_LOGIN =
  'The server wants a login, or the URL has run out. Use one that anyone may read, or a signed one that lasts.'
const NOT_THERE = 'There is nothing at this URL. Check it for typing errors and moved files.'
const STATUS_HINTS: Readonly<Record<number, string>> = {
  401: NEEDS_LOGIN,
  403: NEEDS_LOGIN,
  404: NOT_THERE,
  410: NOT_THERE,
}

/** What Node's error codes mean to somebody who only gave a URL: sentence, hint, and whether it may pass. */
const NETWORK_FAULTS: Readonly<Record<string, readonly [why: string, hint: string, retryable: boolean]>> = {
  ENOTFOUND: ['the host name does not exist', 'Check the host name in the URL.', false],
  ENODATA: ['the host name has no address', 'Check the host name in the URL.', false],
  EAI_AGAIN: ['the host name could not be looked up', TRY_AGAIN, true],
  EAI_FAIL: ['the host name could not be looked up', TRY_AGAIN, true],
  // What the system's resolver says of a name that cannot be one, such as of 300 letters.
  EINVAL: ['the host name cannot be one', 'Check the host name in the URL.', false],
  ECONNREFUSED: ['the server refused the connection', 'Check the port in the URL, or try again later.', true],
  EHOSTUNREACH: ['the server cannot be reached', TRY_AGAIN, true],
  ENETUNREACH: ['the server cannot be reached', TRY_AGAIN, true],
  UND_ERR_CONNECT_TIMEOUT: ['the server did not accept the connection in time', TRY_AGAIN, true],
  ETIMEDOUT: ['the server did not accept the connection in time', TRY_AGAIN, true],
}

const CERTIFICATE_HINT = 'Ask whoever runs the server to mend its certificate, or use another mirror.'
/** Those that say more than "is not valid" to whoever reads them. */
const CERTIFICATE_FAULTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'has expired',
  CERT_NOT_YET_VALID: 'is not valid yet',
  CERT_REVOKED: 'was revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'comes from an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT: 'comes from an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'comes from an authority that is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'comes from an authority that is not trusted',
  CERT_UNTRUSTED: 'comes from an authority that is not trusted',
  ERR_TLS_CERT_ALTNAME_INVALID: 'is for another host name',
  HOSTNAME_MISMATCH: 'is for another host name',
}
/** What else OpenSSL finds wrong with a certificate, as Node names it (X509_V_ERR_… without that). */
const OTHER_CERTIFICATE_FAULT =
  /^(UNABLE_TO_|CERT_|CRL_|ERROR_IN_|SELF_SIGNED_|DEPTH_|PATH_LENGTH_|INVALID_CA$|INVALID_PURPOSE$|EE_KEY_|CA_)/

/** Translates what looking up, connecting and the TLS handshake throw; our own errors pass unchanged. */
export function networkFailure(cause: unknown): Error {
  if (cause instanceof LibraryError) return cause
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  const certificate =
    CERTIFICATE_FAULTS[code] ?? (OTHER_CERTIFICATE_FAULT.test(code) ? 'is not valid' : undefined)
  if (certificate) {
    return downloadFailure(`the server's certificate ${certificate}`, {
      retryable: false,
      hint: CERTIFICATE_HINT,
      cause,
    })
  }
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO') {
    const hint = 'Check whether the URL should begin with http:// instead of https://.'
    return downloadFailure('no secure connection could be made with the server', {
      retryable: false,
      hint,
      cause,
    })
  }
  const [why, hint, retryable] = NETWORK_FAULTS[code] ?? [CONNECTION_WAS_LOST, TRY_AGAIN, true]
  return downloadFailure(why, { retryable, hint, cause })
}
