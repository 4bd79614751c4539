import { setTimeout as sleep } from 'node:timers/promises'
import { KiB } from '#base/bytes.ts'
import { ConnectionAttemptError } from './api.ts'
import { ApiError, CommandError } from './failure.ts'
import { ConnectionError, type HttpResponse } from './http.ts'
import { createMeter, createProgressBar, type Step } from './progress-bar.ts'
import { isPassing, MAX_VAIN_TRIES } from './retry.ts'
import type { Session } from './session.ts'

/** Tries in vain where the library did answer: then it is not the network. */
const MAX_VAIN_ANSWERS = 2
const CHUNK_BYTES = 256 * KiB

/** How far a download is; the ETag says of which bytes. */
export interface Extent {
  readonly etag: string
  /** Bytes in all. */
  readonly size: number
  /** Bytes that we have. */
  readonly offset: number
}

/** Where downloaded bytes go. */
export interface Sink {
  readonly offset: number
  write(chunk: Uint8Array): Promise<void>
}

export interface Download {
  readonly session: Session
  /** As in `download WHAT`. */
  readonly what: string
  /** What the bar is called. */
  readonly label: string
  /** What an earlier run left. */
  readonly known: Extent | undefined
  /** Asks for the bytes from `have.offset` on of those of that ETag; other ones may come instead, or a 412. */
  ask(have: Extent | undefined): Promise<HttpResponse>
  /** Called when it is known what comes, and again when other bytes than before come: then from 0. */
  open(what: Extent): Promise<Sink>
}

/**
 * Fetches something large. A dropped connection is taken up where it broke, with all pieces of the same bytes.
 * @returns what was fetched, its length checked
 */
export async function download(wanted: Download): Promise<Extent> {
  const { session, what: name } = wanted
  const bar = createProgressBar(session.terminal, `Downloading ${wanted.label}`)
  let have = wanted.known
  let sink: Sink | undefined
  try {
    for (let vain = 0; ; ) {
      const before = have?.offset ?? 0
      let answered = false
      try {
        const { response, what } = await ask(wanted, have)
        answered = true
        if (sink === undefined || what.etag !== have?.etag || what.offset !== have.offset) {
          sink = await wanted.open(what)
        }
        have = what
        const meter = createMeter(what.size, what.offset)
        await receive({ wanted, response, sink, size: what.size, show: (step) => bar.show(step), meter })
        return { ...what, offset: sink.offset }
      } catch (error) {
        if (have && isOfOthers(error)) have = undefined
        else if (!isPassing(error)) throw error
        if (have && sink) have = { ...have, offset: sink.offset }
        vain = (have?.offset ?? 0) > before ? 0 : vain + 1
        if (answered && vain >= MAX_VAIN_ANSWERS) throw brokenOff(name, have?.offset ?? 0, error)
        if (vain >= MAX_VAIN_TRIES) throw error
        await sleep(session.retryMs * 2 ** vain, undefined, { signal: session.signal })
      }
    }
  } finally {
    bar.end()
  }
}

/** The bytes that we have some of are gone. */
const isOfOthers = (error: unknown): boolean =>
  error instanceof ApiError && (error.status === 416 || error.status === 412)

const brokenOff = (name: string, offset: number, cause: unknown) =>
  new CommandError(`download ${name}: the library broke it off after ${offset} bytes, again and again`, {
    cause,
    hint: "are the stored bytes damaged? the library's log says more, and its operator has image-library check",
  })

async function ask(wanted: Download, have: Extent | undefined) {
  const response = await wanted.ask(have !== undefined && have.offset > 0 ? have : undefined)
  return { response, what: readExtent(response, `download ${wanted.what}`) }
}

function readExtent({ status, headers }: HttpResponse, attempt: string): Extent {
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers['content-range'] ?? '')
  const etag = headers.etag ?? ''
  const size = Number(status === 206 ? range?.[2] : headers['content-length'])
  const offset = status === 206 ? Number(range?.[1]) : 0
  const isSound =
    (status === 200 || status === 206) && Number.isSafeInteger(size) && (offset < size || size === 0)
  if (isSound && /^(?!W\/)./.test(etag)) return { etag, size, offset }
  throw new CommandError(`${attempt}: the library did not say what it sends (length, ETag)`, {
    hint: 'a proxy between here and the library may have changed the answer',
  })
}

interface Receiving {
  readonly wanted: Download
  readonly response: HttpResponse
  readonly sink: Sink
  readonly size: number
  readonly show: (step: Step) => void
  readonly meter: (phase: string, bytesDone: number) => Step
}

/** Gathers what arrives into pieces that begin at multiples of their length, so that holes stay whole. */
async function receive({ wanted, response, sink, size, show, meter }: Receiving): Promise<void> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  let filled = 0
  let limit = CHUNK_BYTES - (sink.offset % CHUNK_BYTES)
  const flush = async () => {
    await sink.write(buffer.subarray(0, filled))
    filled = 0
    limit = CHUNK_BYTES
    show(meter('downloading', sink.offset))
  }
  try {
    for await (const chunk of readBody(response, wanted)) {
      for (let done = 0; done < chunk.length; ) {
        const copied = chunk.copy(buffer, filled, done, done + limit - filled)
        filled += copied
        done += copied
        if (filled === limit) await flush()
      }
    }
  } finally {
    if (filled > 0) await flush()
  }
  if (sink.offset !== size) throw dropped(wanted, response, new Error('the answer ended early'))
}

/** The body of an answer; where the connection breaks, first what had arrived before. */
async function* readBody(response: HttpResponse, wanted: Download): AsyncGenerator<Buffer> {
  const { body } = response
  const chunks = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  try {
    for (;;) {
      const next = await chunks
        .next()
        .catch((cause: Error) => ({ done: true, value: undefined, cause }) as const)
      if (!next.done) yield next.value
      else if (!('cause' in next)) return
      else if (next.cause.name === 'AbortError') throw next.cause
      else {
        for (let rest = body.read() as Buffer | null; rest !== null; rest = body.read() as Buffer | null)
          yield rest
        throw dropped(wanted, response, next.cause)
      }
    }
  } finally {
    body.destroy()
  }
}

const dropped = ({ what }: Download, { url }: HttpResponse, cause: unknown) =>
  new ConnectionAttemptError(`download ${what}`, new ConnectionError(url, cause))
