import { setTimeout as delay } from 'node:timers/promises'
import type { ImportLimits } from '#base/limits.ts'
import { createAddressRule } from './address.ts'
import { downloadFailure, sourceTooLarge, statusFailure } from './failure.ts'
import { createPace } from './pace.ts'
import { createPins, type Lookup, systemLookup } from './pins.ts'
import type { Body } from './receiver.ts'
import { type FollowRequest, follow } from './redirects.ts'
import type { ResponseHead } from './response-head.ts'
import { resumingStream } from './resume.ts'
import type { Source } from './source.ts'
import { parseSourceUrl, redactUrl } from './source-url.ts'
import { codingsOf, parseRetryAfter, versionOf } from './validators.ts'

export interface HttpSourceOptions {
  readonly url: string
  readonly limits: ImportLimits
  /** Address ranges, CIDR, that are open although they are private. */
  readonly allowSource: readonly string[]
  readonly signal: AbortSignal
  readonly lookup?: Lookup
  /** Milliseconds since 1970. */
  readonly now?: () => number
  /** Waits between two attempts to resume. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>
}

const pauseFor = async (ms: number, signal: AbortSignal) => {
  await delay(ms, undefined, { signal }).catch(() => signal.throwIfAborted())
}

/**
 * Opens a file on a stranger's web server. Dropped connections are taken up again where they broke, unseen by the
 * reader of the stream (docs/decisions/0014-resume-in-the-source.md).
 * @throws SourceFailure, too-large, invalid (the URL), or the signal's reason; the stream throws the same
 */
export async function openHttpSource(options: HttpSourceOptions): Promise<Source> {
  const { limits, allowSource, lookup = systemLookup, now = Date.now, pause = pauseFor } = options
  const start = parseSourceUrl(options.url)
  const { signal, end } = withDeadline(options.signal, limits.totalMs)
  const pins = createPins({ lookup, isAllowed: createAddressRule(allowSource), timeoutMs: limits.connectMs })
  const pace = createPace(limits)
  const ask = (request: Pick<FollowRequest, 'url' | 'headers' | 'bodyLimit'>) =>
    follow({ ...request, limits, pins, pace, signal })

  let current: Body | undefined
  try {
    const first = await ask({ url: start, headers: {}, bodyLimit: limits.sourceSize })
    current = first.body
    const { head } = first
    if (head.status !== 200) throw unwantedStatus(head, now())
    if (codingsOf(head).some((name) => HIDING_CODINGS.has(name))) throw hiddenByCoding()
    const size = head.length
    if (size !== undefined && size > limits.sourceSize) throw sourceTooLarge(size, limits.sourceSize)
    const version = versionOf(head, now())
    const isEndTold = size !== undefined || head.header('transfer-encoding') !== undefined
    const resuming = resumingStream({
      start,
      first,
      size,
      isEndTold,
      version,
      limits,
      ask,
      now,
      pause,
      signal,
      end,
    })
    return {
      stream: resuming.stream,
      finalUrl: redactUrl(first.url),
      size,
      isEndTold,
      etag: version.etag,
      lastModified: version.lastModified,
      contentType: head.header('content-type')?.slice(0, 80),
      received: resuming.received,
      async [Symbol.asyncDispose]() {
        resuming.close()
      },
    }
  } catch (error) {
    current?.close()
    end()
    throw error
  }
}

/**
 * Codings that leave no mark in the bytes: what is coded so could not be told from a raw disk. Others can stay, for the
 * bytes begin as a compressed file does; and servers name them for files that are compressed anyway.
 */
const HIDING_CODINGS: ReadonlySet<string> = new Set(['br', 'deflate', 'compress', 'x-compress', 'dcb', 'dcz'])

function hiddenByCoding(): Error {
  return downloadFailure('the server compressed its answer (Content-Encoding), which it was not asked for', {
    retryable: false,
    hint: 'Use another mirror, or have the server send this file as it is.',
  })
}

/** Only a plain 200 is an answer to a plain GET: 206 would be a part of something, 204 nothing at all. */
function unwantedStatus(head: ResponseHead, now: number): Error {
  return statusFailure(head.status, parseRetryAfter(head.header('retry-after'), now))
}

/** The caller's signal, or the end of the time that the whole import may take. */
function withDeadline(signal: AbortSignal, totalMs: number): { signal: AbortSignal; end: () => void } {
  const deadline = new AbortController()
  const timer = setTimeout(() => {
    deadline.abort(
      downloadFailure(`it took longer than ${totalMs / 1000} seconds`, {
        retryable: false,
        hint: 'Use a faster server, compress the image, or ask the operator to raise the limit.',
      }),
    )
  }, totalMs)
  return { signal: AbortSignal.any([signal, deadline.signal]), end: () => clearTimeout(timer) }
}
