import { Pool } from 'undici'
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
  readonly method: string
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
    async send({ method, path, headers, body, limit, signal }) {
      const timeout = AbortSignal.timeout(times.attemptMs)
      const answer = await pool.request({
        method: method as 'GET',
        path,
        headers,
        body: body ?? null,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      })
      const { statusCode: status } = answer
      const isGood = status >= 200 && status < 300
      const length = Number(answer.headers['content-length'] ?? Number.NaN)
      const most = isGood ? limit : ANSWER_MAX
      const tooLong = (length: number) => {
        // What is stored is too long; anything else that is comes from elsewhere.
        const isStored = status === 200 && answer.headers.etag !== undefined && headers.range === undefined
        const what = `${length} bytes or more`
        if (!isStored) return new StrangeAnswer(`it has ${what}`)
        return new LibraryError('corrupt', `read from the object store: ${what} are stored`)
      }
      if (method !== 'HEAD' && length > most) {
        answer.body.destroy()
        throw tooLong(length)
      }
      return { status, headers: answer.headers, body: await readBody(answer.body, { length, most, tooLong }) }
    },
    [Symbol.asyncDispose]: () => pool.destroy(),
  }
}

interface Expected {
  /** Bytes; NaN where the answer does not say. */
  readonly length: number
  readonly most: number
  readonly tooLong: (length: number) => Error
}

async function readBody(
  chunks: AsyncIterable<Uint8Array>,
  { length, most, tooLong }: Expected,
): Promise<Buffer> {
  // One piece of memory where the length is known, as it is for every block.
  const whole = length <= most ? Buffer.allocUnsafeSlow(length) : undefined
  const parts: Uint8Array[] = []
  let done = 0
  for await (const chunk of chunks) {
    if (done + chunk.length > most) throw tooLong(done + chunk.length)
    if (whole) whole.set(chunk, done)
    else parts.push(chunk)
    done += chunk.length
  }
  // The answer to HEAD has a length and no body.
  return whole ? whole.subarray(0, done) : Buffer.concat(parts)
}
