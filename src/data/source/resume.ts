import type { ByteStream } from '#base/bytes.ts'
import type { ImportLimits } from '#base/limits.ts'
import { SourceFailure } from '#base/refusal.ts'
import type { Answer } from './exchange.ts'
import {
  CONNECTION_WAS_LOST,
  ConnectionLost,
  downloadFailure,
  fileHasChanged,
  mustStartAgain,
  statusFailure,
  TRY_AGAIN,
} from './failure.ts'
import type { Body } from './receiver.ts'
import type { FollowRequest } from './redirects.ts'
import { isSameVersion, parseContentRange, parseRetryAfter, type Version, versionOf } from './validators.ts'

type LocatedAnswer = Answer & { readonly url: URL }

export interface ResumeOptions {
  /** Where the user pointed. */
  readonly start: URL
  /** The answer to the plain request; its URL is where the redirects led to. */
  readonly first: LocatedAnswer
  readonly size: number | undefined
  /** As of the source. */
  readonly isEndTold: boolean
  readonly version: Version
  readonly limits: ImportLimits
  readonly ask: (request: Pick<FollowRequest, 'url' | 'headers' | 'bodyLimit'>) => Promise<LocatedAnswer>
  readonly now: () => number
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>
  readonly signal: AbortSignal
  /** Called once when nothing more will be asked for. */
  readonly end: () => void
}

/** How often one resume knocks at a server that does not open; with the pauses between, about 16 seconds. */
const MAX_KNOCKS = 8
const FIRST_PAUSE_MS = 100
const MAX_PAUSE_MS = 5000
/** A server may ask for more patience than our own pauses have, up to this. */
const MAX_PATIENCE_MS = 30_000

/** The bytes of several answers as one stream, of one and the same version of the file. */
export function resumingStream(options: ResumeOptions): {
  readonly stream: ByteStream
  received(): number
  close(): void
} {
  const { first, limits, signal } = options
  let size = options.size
  let body: Body | undefined = first.body
  /** Bytes of the bodies before the present one. */
  let before = 0
  let resumes = 0
  const received = () => before + (body?.arrived ?? 0)
  const close = () => {
    before = received()
    body?.close()
    body = undefined
    options.end()
  }

  /** Goes on after a broken connection. @returns false where nothing was missing */
  const resume = async (lost: ConnectionLost, progress: number): Promise<boolean> => {
    before = received()
    body = undefined
    if (options.version.validator === undefined) throw cannotResume(before, lost)
    if (resumes++ >= limits.resumes || progress === 0) throw gaveUp(before, size, resumes - 1, lost)
    const answer = await knock(options, before, lost)
    const range = rangeOf(answer, { ...options, size, received: before })
    size = range.total
    if (range.start === undefined) {
      answer.body.close()
      return false
    }
    body = answer.body
    return true
  }

  async function* read(): AsyncGenerator<Uint8Array> {
    try {
      while (body) {
        const startedAt = before
        try {
          for (;;) {
            signal.throwIfAborted()
            if (size !== undefined && received() > size) {
              throw mustStartAgain('the server sent more than the missing part')
            }
            const chunk: Uint8Array | undefined = body.take()
            if (chunk) yield chunk
            else if (!(await body.more())) break
          }
          // A 206 may bring less than was asked for.
          if (size === undefined && received() === 0 && !options.isEndTold) throw closedAfterHead()
          if (size === undefined || received() === size) return
          throw new ConnectionLost(CONNECTION_WAS_LOST, received())
        } catch (error) {
          if (!(error instanceof ConnectionLost)) throw error
          if (!(await resume(error, received() - startedAt))) return
        }
      }
    } finally {
      close()
    }
  }

  return { stream: read(), received, close }
}

/** Asks for the rest until somebody answers: restarting servers and passing outages are worth some patience. */
async function knock(options: ResumeOptions, received: number, lost: ConnectionLost): Promise<LocatedAnswer> {
  const { start, first, version, limits, now, pause, signal } = options
  const headers = { range: `bytes=${received}-`, 'if-range': version.validator ?? '' }
  const bodyLimit = limits.sourceSize - received
  let url = first.url
  let failure: SourceFailure = lost
  for (let knocks = 0; knocks < MAX_KNOCKS; knocks++) {
    const patience = Math.max(FIRST_PAUSE_MS * 2 ** knocks, failure.retryAfterMs ?? 0)
    await pause(Math.min(patience, failure.retryAfterMs ? MAX_PATIENCE_MS : MAX_PAUSE_MS), signal)
    signal.throwIfAborted()
    try {
      const answer = await options.ask({ url, headers, bodyLimit })
      const { status } = answer.head
      if (status === 200 || status === 206 || status === 416) return answer
      answer.body.close()
      failure = statusFailure(status, parseRetryAfter(answer.head.header('retry-after'), now()))
      // The signature in a redirect's target may have run out; the way there from the start gets a new one.
      if (!failure.retryable && url !== start) url = start
      else if (!failure.retryable) throw failure
    } catch (error) {
      if (!(error instanceof SourceFailure && error.retryable)) throw error
      failure = error
    }
  }
  throw failure
}

/** Makes sure that an answer goes on exactly where the stream stands, in the same version. */
function rangeOf(
  { head, body }: Answer,
  begun: {
    readonly version: Version
    readonly size: number | undefined
    readonly received: number
    now(): number
  },
): { readonly start: number | undefined; readonly total: number } {
  const refuse = (why: string) => {
    body.close()
    return mustStartAgain(why)
  }
  const changed = () => {
    body.close()
    return fileHasChanged()
  }
  const range = parseContentRange(head.header('content-range'))
  const isSame = isSameVersion(begun.version, versionOf(head, begun.now()))
  if (head.status === 416) {
    const total = begun.size ?? range?.total
    if (isSame416(head.header('etag'), begun.version) && total === begun.received)
      return { start: undefined, total }
    throw refuse('the connection was lost and the server has no more bytes')
  }
  if (head.status === 200) throw refuse('the connection was lost and the server cannot go on where it broke')
  if (!isSame) throw changed()
  const { start, end, total } = range ?? {}
  const fits = start === begun.received && total !== undefined && end !== undefined && end <= total
  if (!fits || (head.length !== undefined && head.length !== end - start)) {
    throw refuse('the connection was lost and the server sent another part than the missing one')
  }
  if (begun.size !== undefined && total !== begun.size) throw changed()
  return { start, total }
}

/** A 416 seldom names a version; where it does, it must be ours. */
function isSame416(etag: string | undefined, version: Version): boolean {
  return etag === undefined || version.etag === undefined || etag === version.etag
}

/** An empty file would have a length of 0. */
function closedAfterHead(): SourceFailure {
  return downloadFailure('the server closed the connection before the first byte of the file', {
    retryable: true,
    hint: TRY_AGAIN,
  })
}

function cannotResume(received: number, cause: ConnectionLost): SourceFailure {
  return downloadFailure(`${cause.what} after ${received} bytes, and the server gives no way to go on`, {
    retryable: true,
    hint: 'Try again later, or use a mirror that sends an ETag: a download from there goes on where it broke.',
    cause,
  })
}

function gaveUp(
  received: number,
  size: number | undefined,
  resumes: number,
  cause: ConnectionLost,
): SourceFailure {
  const of = size === undefined ? '' : ` of ${size}`
  const tried = resumes === 0 ? '' : ` and ${resumes} ${resumes === 1 ? 'resume' : 'resumes'}`
  return downloadFailure(`${cause.what} for good after ${received}${of} bytes${tried}`, {
    retryable: true,
    hint: TRY_AGAIN,
    cause,
  })
}
