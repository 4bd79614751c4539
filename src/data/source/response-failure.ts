import { errors } from 'undici'
import type { SourceFailure } from '#base/refusal.ts'
import { MAX_HEAD_SIZE } from './connection.ts'
import { CONNECTION_WAS_LOST, ConnectionLost, downloadFailure, TRY_AGAIN } from './failure.ts'

export function notHttp(cause?: Error): SourceFailure {
  return downloadFailure("the server's answer is not valid HTTP", {
    retryable: false,
    hint: 'Check whether the URL leads to a web server, and whether it should begin with https://; or use a mirror.',
    cause,
  })
}

/** Translates what broke an exchange before its response had come. */
export function answerFailure(error: Error): SourceFailure {
  const cause = withoutBytes(error)
  if (error instanceof errors.HeadersOverflowError) {
    return downloadFailure(`the server's headers are longer than ${MAX_HEAD_SIZE} bytes`, {
      retryable: false,
      hint: 'Check the URL: file servers answer with far less.',
      cause,
    })
  }
  // A 100 or 101 that nobody asked for is to undici a socket error like any other, but for its text. Where a length
  // was among the headers, it says of any fault after it that the length does not fit.
  const isUnasked = error instanceof errors.SocketError && error.message.startsWith('bad ')
  const isMalformed =
    error instanceof errors.HTTPParserError || error instanceof errors.ResponseContentLengthMismatchError
  if (isUnasked || isMalformed) return notHttp(cause)
  const why = 'the server closed the connection without an answer'
  return downloadFailure(why, { retryable: true, hint: TRY_AGAIN, cause })
}

/** Translates what broke a body: silence, chunks that are none, or the connection. What came before it is good. */
export function bodyFailure(error: Error, arrived: number): ConnectionLost {
  const what = error instanceof errors.BodyTimeoutError ? 'the server fell silent' : CONNECTION_WAS_LOST
  return new ConnectionLost(what, arrived, { cause: withoutBytes(error) })
}

/** The parser's error carries all that was left to read; none of it may get into a log. */
function withoutBytes(error: Error): Error {
  return error instanceof errors.HTTPParserError ? new Error(error.message) : error
}
