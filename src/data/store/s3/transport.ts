import { type Dispatcher, Pool } from 'undici'
import { KiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import type { Answer } from './answers.ts'
import { StrangeAnswer } from './xml.ts'

/** Time limits in milliseconds. */
export interface S3Times {
  readonly connectMs: number
  /** From the end of the request to the head of the answer. */
  readonly headersMs: number
  /** Without a byte of the body. */
  readonly silenceMs: number
  /** One attempt, however fast its bytes drip. */
  readonly attemptMs: number
  /** After which a failed call is not tried again. */
  readonly callMs: number
}

export const S3_TIMES: S3Times = {
  connectMs: 5_000,
  headersMs: 20_000,
  silenceMs: 20_000,
  attemptMs: 60_000,
  callMs: 60_000,
}

export interface Sending {
  readonly method: Dispatcher.HttpMethod
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | undefined
  /** Bytes of a good answer's body; a longer one is `corrupt`. */
  readonly limit: number
  readonly signal: AbortSignal | undefined
}

/** One exchange after another with one server, on a bounded number of connections. */
export interface Transport extends AsyncDisposable {
  /** One attempt. @throws corrupt for a body that is too long; StrangeAnswer; what the network says */
  send(request: Sending): Promise<Answer>
}

/** Of an error's body, or a list's page. */
export const ANSWER_MAX = 4 * 1024 * KiB

export function createTransport(endpoint: string, connections: number, times: S3Times): Transport {
  const pool = new Pool(endpoint, {
    connections,
    pipelining: 1,
    allowH2: false,
    headersTimeout: times.headersMs,
    bodyTimeout: times.silenceMs,
    maxHeaderSize: 16 * KiB,
    // Not left to the environment: NODE_TLS_REJECT_UNAUTHORIZED must not open the door.
    connect: { timeout: times.connectMs, rejectUnauthorized: true },
  })
  return {
    send(request) {
      const { method, path, headers, body } = request
      return new Promise((resolve, reject) => {
        pool.dispatch(
          {
            method,
            path,
            headers,
            body: body ?? null,
            // Else undici closes the connection after each HEAD, for servers that send a body all the same.
            reset: false,
          },
          receive({ request, attemptMs: times.attemptMs, resolve, reject }),
        )
      })
    },
    [Symbol.asyncDispose]: () => pool.destroy(),
  }
}

interface Receiving {
  readonly request: Sending
  readonly attemptMs: number
  readonly resolve: (answer: Answer) => void
  readonly reject: (reason: unknown) => void
}

/** Gathers one answer. Not by undici's streams, which cost more than the rest of a read. */
function receive({ request, attemptMs, resolve, reject }: Receiving): Dispatcher.DispatchHandler {
  let controller: Dispatcher.DispatchController | undefined
  let status = 0
  let headers: Answer['headers'] = {}
  let most = 0
  let whole: Buffer | undefined
  const parts: Uint8Array[] = []
  let done = 0
  let failure: Error | undefined
  const { signal } = request
  const onAbort = () => fail(signal?.reason)
  // Not by a signal of its own for each request, which lives on until its time has come.
  const timer = setTimeout(() => fail(new Error(`it takes longer than ${attemptMs} ms`)), attemptMs).unref()
  const end = () => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
  const fail = (reason: Error) => {
    failure ??= reason
    end()
    reject(reason)
    controller?.abort(reason)
  }
  if (signal?.aborted) onAbort()
  else signal?.addEventListener('abort', onAbort, { once: true })
  return {
    onRequestStart(started) {
      controller = started
      // It may have waited for a connection for so long that its bytes are no more what they were.
      if (failure) started.abort(failure)
    },
    onResponseStart(_controller, code, head) {
      if (code < 200) return
      status = code
      headers = head
      most = status < 300 ? request.limit : ANSWER_MAX
      const length = Number(head['content-length'] ?? Number.NaN)
      if (request.method === 'HEAD') return
      if (length > most) fail(tooLong(request, { status, headers }, length))
      // One piece of memory where the length is known, as it is for every block.
      else if (length <= most) whole = Buffer.allocUnsafeSlow(length)
    },
    onResponseData(_controller, chunk) {
      const from = done
      done += chunk.length
      if (done > (whole?.length ?? most)) fail(tooLong(request, { status, headers }, done))
      else if (whole) whole.set(chunk, from)
      else parts.push(Buffer.from(chunk))
    },
    onResponseEnd() {
      end()
      resolve({ status, headers, body: whole ? whole.subarray(0, done) : Buffer.concat(parts) })
    },
    onResponseError(_controller, error) {
      end()
      reject(error)
    },
  }
}

/** What is stored is too long; anything else that is comes from elsewhere. */
function tooLong(request: Sending, { status, headers }: Omit<Answer, 'body'>, length: number): Error {
  const isStored = status === 200 && headers.etag !== undefined && request.headers.range === undefined
  const what = `${length} bytes or more`
  if (!isStored) return new StrangeAnswer(`it has ${what}`)
  return new LibraryError('corrupt', `read from the object store: ${what} are stored`)
}
