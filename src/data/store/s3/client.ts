import { hash } from 'node:crypto'
import { LibraryError } from '#base/errors.ts'
import type { Generation } from '../store.ts'
import { type Answer, headerOf, storeError, Unwelcome, unwelcome } from './answers.ts'
import { backOff } from './backoff.ts'
import { DeleteBatch } from './delete-batch.ts'
import { putInParts } from './multipart.ts'
import type { ListedObject, ObjectHead, ObjectPart, S3Objects } from './objects.ts'
import type { S3Address, S3Credentials } from './place.ts'
import { hedged, ReadLatency } from './read-latency.ts'
import { createSigner, type Signer } from './signer.ts'
import { ANSWER_MAX, createTransport, S3_TIMES, type S3Times, type Transport } from './transport.ts'
import { deleteRequest, expectResult, parseDeleteResult, parseListPage, StrangeAnswer } from './xml.ts'

/** Requests at once from one thread or process. */
const CONNECTIONS = 16
const ATTEMPTS = 8
/** Our own clock is believed until a server says otherwise by more than this. */
const SKEW_MS = 60_000
/** So long a bucket that was there is believed to be there. */
const BUCKET_MS = 10_000
const GENERATION = 'x-amz-meta-generation'

export interface S3ClientOptions {
  readonly address: S3Address
  /** Asked for at each request. @param renewed those it gave last were refused */
  readonly credentials: (renewed?: boolean) => Promise<S3Credentials>
  readonly times?: Partial<S3Times>
  readonly connections?: number
  /** For tests. */
  readonly now?: () => number
  readonly random?: () => number
}

/** One call to the server. */
export interface S3Request {
  readonly method: 'DELETE' | 'GET' | 'HEAD' | 'POST' | 'PUT'
  /** Behind the prefix; undefined for the bucket itself. */
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** That there is no such object is an answer, too; to HEAD, which never says whether it is the bucket. */
  readonly mayBeMissing?: boolean
  /** Bytes that the answer may have. */
  readonly limit?: number
  readonly signal?: AbortSignal
}

/** Makes one call; `read` says what a success means, and throws `StrangeAnswer` where it is none. */
export type Ask = <T>(request: S3Request, read: (answer: Answer, attempt: number) => T) => Promise<T>

/** Opens an object store; connections are made when they are needed. */
export function createS3Client(options: S3ClientOptions): S3Objects {
  return new S3Client(options)
}

class S3Client implements S3Objects {
  readonly #options: S3ClientOptions
  readonly #times: S3Times
  readonly #signer: Signer
  readonly #transport: Transport
  readonly #now: () => number
  readonly #random: () => number
  readonly #reads = new ReadLatency()
  readonly #deletes = new DeleteBatch((keys) => this.#deleteMany(keys))
  /** What the server's clock is ahead of ours, where that is too much for it. */
  #skewMs = 0
  #bucketSeenAt = Number.NEGATIVE_INFINITY
  #bucketSeen: Promise<void> | undefined

  constructor(options: S3ClientOptions) {
    const { address, times, connections = CONNECTIONS, now = Date.now, random = Math.random } = options
    this.#options = options
    this.#times = { ...S3_TIMES, ...times }
    this.#signer = createSigner(address, () => options.credentials())
    this.#transport = createTransport(address.endpoint, connections, this.#times)
    this.#now = now
    this.#random = random
  }

  async put(key: string, bytes: Uint8Array, generation: Generation): Promise<void> {
    const headers = { [GENERATION]: String(generation) }
    await this.#ask({ method: 'PUT', key, headers, body: bytes }, demandTag)
  }

  async putStream(
    key: string,
    bytes: Parameters<S3Objects['putStream']>[1],
    generation: Generation,
  ): Promise<void> {
    await putInParts({
      ask: (request, read) => this.#ask(request, read),
      headers: { [GENERATION]: String(generation) },
      putWhole: (all) => this.put(key, all, generation),
      isThere: async () => (await this.head(key))?.generation === generation,
      ...{ key, bytes },
    })
  }

  async get(key: string, limit: number): Promise<Buffer | undefined> {
    const read = (answer: Answer) => {
      if (answer.status !== 200) throw new StrangeAnswer(`status ${answer.status}`)
      demandTag(answer)
      return answer.body
    }
    return hedged(this.#reads, (signal) =>
      this.#unlessMissing(this.#ask({ method: 'GET', key, limit, signal }, read)),
    )
  }

  async getPart(key: string, offset: number, length: number): Promise<ObjectPart | undefined> {
    const headers = { range: `bytes=${offset}-${offset + length - 1}` }
    const read = (answer: Answer) => partOf(answer, offset, length)
    return hedged(this.#reads, (signal) =>
      this.#unlessMissing(this.#ask({ method: 'GET', key, headers, limit: length, signal }, read)),
    )
  }

  async head(key: string): Promise<ObjectHead | undefined> {
    const found = await this.#ask({ method: 'HEAD', key, mayBeMissing: true }, (answer) =>
      answer.status === 404 ? undefined : headOf(answer),
    )
    // Where the bucket is gone, nothing is known of the object.
    if (!found) await this.#demandBucket()
    return found
  }

  /** Those who ask at once wait for one request. */
  async #demandBucket(): Promise<void> {
    if (this.#now() - this.#bucketSeenAt < BUCKET_MS) return
    this.#bucketSeen ??= this.#ask({ method: 'HEAD' }, () => {
      this.#bucketSeenAt = this.#now()
    }).finally(() => {
      this.#bucketSeen = undefined
    })
    await this.#bucketSeen
  }

  async copy(from: string, to: string): Promise<boolean> {
    const { bucket, prefix } = this.#options.address
    const headers = { 'x-amz-copy-source': `/${bucket}/${prefix}${from}` }
    const read = (answer: Answer) => {
      expectResult(answer.body.toString(), 'CopyObjectResult')
      return true
    }
    return (await this.#unlessMissing(this.#ask({ method: 'PUT', key: to, headers }, read))) ?? false
  }

  async delete(key: string): Promise<void> {
    await this.#deletes.add(key)
  }

  async #deleteMany(keys: readonly string[]): Promise<void> {
    const [only] = keys
    if (keys.length === 1 && only !== undefined) {
      await this.#unlessMissing(this.#ask({ method: 'DELETE', key: only }, () => undefined))
      return
    }
    const body = deleteRequest(keys.map((key) => this.#options.address.prefix + key))
    const headers = { 'content-md5': hash('md5', body, 'base64'), 'content-type': 'application/xml' }
    await this.#ask({ method: 'POST', query: { delete: '' }, headers, body }, ({ status, body }) => {
      const failed = parseDeleteResult(body.toString())
      if (failed !== undefined) throw new Unwelcome('later', status, failed)
    })
  }

  async *list(within: string, after?: string): AsyncGenerator<ListedObject> {
    const { prefix } = this.#options.address
    const query = { 'list-type': '2', prefix: prefix + within }
    let token: string | undefined
    const first: Record<string, string> = after === undefined ? {} : { 'start-after': prefix + after }
    let last = first['start-after'] ?? ''
    do {
      const goOn = token === undefined ? first : { 'continuation-token': token }
      const page = await this.#ask({ method: 'GET', query: { ...query, ...goOn } }, (answer) => {
        const page = parseListPage(answer.body.toString())
        const at = Date.parse(headerOf(answer, 'date') ?? '')
        if (Number.isNaN(at)) throw new StrangeAnswer('it does not say when it was made')
        let before = last
        for (const { key } of page.objects) {
          // Else a list could have no end.
          if (key <= before || !key.startsWith(query.prefix))
            throw new StrangeAnswer('a list is out of order')
          before = key
        }
        return { ...page, at }
      })
      for (const { key, size, modifiedAt } of page.objects) {
        last = key
        yield { key: key.slice(prefix.length), size, ageMs: page.at - modifiedAt }
      }
      token = page.next
    } while (token !== undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]()
  }

  async #unlessMissing<T>(call: Promise<T>): Promise<T | undefined> {
    try {
      return await call
    } catch (error) {
      const cause = error instanceof LibraryError ? error.cause : undefined
      if (!(cause instanceof Unwelcome) || cause.status !== 404 || cause.code === 'NoSuchBucket') throw error
      return undefined
    }
  }

  async #ask<T>(request: S3Request, read: (answer: Answer, attempt: number) => T): Promise<T> {
    const { method, key = '', mayBeMissing = false, signal } = request
    const attemptOf = `${method.toLowerCase()} ${key || 'the bucket'}`
    const startedAt = performance.now()
    for (let attempt = 0; ; attempt++) {
      try {
        const answer = await this.#send(request)
        const isGood = answer.status >= 200 && answer.status < 300
        // Not by an error, which costs more than the answer: most looks of a registration find nothing.
        if (!isGood && !(mayBeMissing && answer.status === 404)) throw this.#judge(answer)
        return read(answer, attempt)
      } catch (error) {
        signal?.throwIfAborted()
        const isLate = performance.now() - startedAt > this.#times.callMs
        if (attempt + 1 >= ATTEMPTS || isLate || !(await this.#mayGoOn(error)))
          throw storeError(attemptOf, error)
        await backOff(attempt, this.#random, signal)
      }
    }
  }

  async #mayGoOn(error: unknown): Promise<boolean> {
    if (error instanceof LibraryError) return false
    if (!(error instanceof Unwelcome)) return true
    if (error.again === 'other credentials') await this.#options.credentials(true)
    return error.again !== 'no'
  }

  /** Learns from a refusal what its next attempt needs. */
  #judge(answer: Answer): Unwelcome {
    const refusal = unwelcome(answer)
    if (refusal.again !== 'other clock') return refusal
    const theirs = Date.parse(headerOf(answer, 'date') ?? '')
    const skewMs = theirs - this.#now()
    if (Number.isNaN(theirs) || Math.abs(skewMs - this.#skewMs) < SKEW_MS)
      return new Unwelcome('no', refusal.status, refusal.code)
    this.#skewMs = skewMs
    return refusal
  }

  async #send({ method, key, query = {}, headers = {}, body, limit, signal }: S3Request): Promise<Answer> {
    const { bucket, prefix } = this.#options.address
    const path = key === undefined ? `/${bucket}` : `/${bucket}/${prefix}${key}`
    const withHash = { ...headers, 'x-amz-content-sha256': hash('sha256', body ?? '', 'hex') }
    const signable = { method, path, query, headers: withHash }
    const signed = await this.#signer.sign(signable, new Date(this.#now() + this.#skewMs))
    return this.#transport.send({
      method,
      path: `${path}${printQuery(query)}`,
      headers: signed,
      body,
      limit: limit ?? ANSWER_MAX,
      signal,
    })
  }
}

function printQuery(query: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(query).map(([name, value]) => `${name}=${escapeQuery(value)}`)
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`
}

const escapeQuery = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)

/** What stands between may answer for a server; it does not make up what every object has. */
function demandTag(answer: Answer): void {
  if (!headerOf(answer, 'etag')) throw new StrangeAnswer('an object has no ETag')
}

function headOf(answer: Answer): ObjectHead {
  demandTag(answer)
  const size = Number(headerOf(answer, 'content-length') ?? Number.NaN)
  const mark = headerOf(answer, GENERATION) ?? ''
  if (Number.isNaN(size)) throw new StrangeAnswer('an object lacks its size')
  return { size, generation: /^\d{1,15}$/.test(mark) ? Number(mark) : 0 }
}

function partOf(answer: Answer, offset: number, length: number): ObjectPart {
  demandTag(answer)
  const range = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(headerOf(answer, 'content-range') ?? '')
  const [first, last, size] = (range ?? []).slice(1).map(Number)
  if (answer.status !== 206 || size === undefined || first !== offset || last === undefined)
    throw new StrangeAnswer('a part is not the one that was asked for')
  const expected = Math.min(length, size - offset)
  if (last !== offset + expected - 1 || answer.body.length !== expected)
    throw new StrangeAnswer('a part has another length than was asked for')
  return { bytes: answer.body, size }
}
