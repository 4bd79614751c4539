import { isUtf8 } from 'node:buffer'
import { PassThrough } from 'node:stream'
import { ByteFeed } from '#base/byte-feed.ts'
import type { ByteStream } from '#base/bytes.ts'
import { trimBoth, trimEnd } from '#base/trim.ts'
import { requestSignal } from '#edge/http/close-signal.ts'
import type { Caller, ObjectPath } from '#model/orbit.ts'
import { BULK_LIMITS } from './bulk-delete.ts'
import type { Exchange } from './exchange.ts'
import { gunzip } from './gunzip.ts'
import { bestOutcomeType, printOutcome } from './outcome.ts'
import { encodePath } from './path.ts'
import { announcedLength, receiveBody } from './receive-body.ts'
import { answerOf } from './refusals.ts'
import { SwiftProblem, sendBytes, statusLine } from './reply.ts'
import { readTar, type TarEntry, TarProblem } from './tar-reader.ts'

/** How the bytes of a body become those of an archive; bzip2 would keep the only thread that answers for too long. */
const FORMATS: ReadonlyMap<string, (exchange: Exchange, body: ByteStream) => ByteStream> = new Map([
  ['tar', (_exchange, body) => body],
  ['tar.gz', gunzip],
])

interface Outcome {
  created: number
  readonly errors: [path: string, status: string][]
  /** What ended it early. */
  problem?: SwiftProblem
  /** Something failed on our side. */
  isBroken?: boolean
}

/** PUT with `?extract-archive`: makes an object of each file of an archive. */
export async function uploadArchive(exchange: Exchange, caller: Caller): Promise<void> {
  const format = trimBoth((exchange.query.get('extract-archive') ?? '').toLowerCase(), '.')
  const decode = FORMATS.get(format)
  if (!decode) throw new SwiftProblem(400, 'Unsupported archive format')
  announcedLength(exchange)
  const outcome: Outcome = { created: 0, errors: [] }
  try {
    await unpack(exchange, decode, (entries) => putAll(exchange, caller, entries, outcome))
  } catch (error) {
    outcome.problem = problemOf(error)
  }
  const type = bestOutcomeType(exchange)
  const declaration = type.endsWith('/xml') ? '<?xml version="1.0" encoding="UTF-8"?>\n' : ''
  const text = printOutcome(type, 'extract', valuesOf(outcome), outcome.errors)
  sendBytes(exchange, 200, { 'Content-Type': type }, Buffer.from(declaration + text))
}

/** Reads the body as an archive. */
async function unpack(
  exchange: Exchange,
  decode: (exchange: Exchange, body: ByteStream) => ByteStream,
  use: (entries: AsyncGenerator<TarEntry>) => Promise<void>,
): Promise<void> {
  const stage = new PassThrough()
  const write = (chunk: Uint8Array) =>
    new Promise<void>((resolve, reject) => {
      stage.write(chunk, (error) => (error ? reject(error) : resolve()))
    })
  const receiving = receiveBody(exchange, write).then(
    () => void stage.end(),
    (error: Error) => void stage.destroy(error),
  )
  const feed = new ByteFeed(decode(exchange, stage))
  try {
    await use(readTar(feed))
    // What pads an archive is taken in, so that the connection can go on.
    while (await feed.fill(1)) feed.advance(feed.buffered)
    await receiving
  } finally {
    stage.destroy()
    await feed.close()
  }
}

/** What ended the reading. @throws it, where the client is not to be told in a report */
function problemOf(error: unknown): SwiftProblem {
  if (error instanceof SwiftProblem && ENDING.includes(error.status)) return error
  if (isDamage(error)) return new SwiftProblem(400, `Invalid Tar File: ${(error as Error).message}`)
  throw error
}

/** Nothing more would be put, or too much was refused. */
const ENDING = [400, 401]

const isDamage = (error: unknown): boolean => error instanceof TarProblem

async function putAll(
  exchange: Exchange,
  caller: Caller,
  entries: AsyncGenerator<TarEntry>,
  outcome: Outcome,
): Promise<void> {
  const containers = new Set<string>()
  for await (const entry of entries) {
    const name = nameOf(exchange, entry)
    if (name === undefined) continue
    const shown = percentEncode(name)
    const [container = '', ...rest] = name.toString().split('/')
    const path = { account: exchange.path.account, container, object: rest.join('/') }
    try {
      if (!isUtf8(name) || name.includes(0)) throw new SwiftProblem(412)
      if (path.object === '') throw new SwiftProblem(400)
      await makeContainer(exchange, caller, path, containers)
      await putOne(exchange, caller, path, entry)
      outcome.created++
    } catch (error) {
      note(exchange, error, shown, outcome)
    }
  }
}

/** The bytes of `container/object`; undefined for what is no file, or in no container. */
function nameOf({ path }: Exchange, { isFile, name }: TarEntry): Buffer | undefined {
  if (!isFile) return undefined
  let start = 0
  if (name[0] === DOT && name[1] === SLASH) start = 2
  while (name[start] === SLASH) start++
  const base = [path.container, path.object].filter((part) => part !== undefined).join('/')
  const folder = Buffer.from(base === '' ? '' : `${trimEnd(base, '/')}/`)
  const whole = Buffer.concat([folder, name.subarray(start)])
  return whole.includes(SLASH) ? whole : undefined
}

const DOT = 0x2e
const SLASH = 0x2f

const percentEncode = (name: Buffer): string =>
  isUtf8(name)
    ? encodePath(name.toString())
    : name
        .toString('latin1')
        .replace(/[^\w.~/-]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`)

/** Makes the container where there is none; who may not put into it learns that from the object. */
async function makeContainer(
  { deps: { orbit } }: Exchange,
  caller: Caller,
  { account, container }: ObjectPath,
  seen: Set<string>,
): Promise<void> {
  if (seen.has(container)) return
  if (seen.size === BULK_LIMITS.containers) throw new SwiftProblem(413)
  if (!(await orbit.containers.facts({ account, container }))) {
    await orbit.containers.put(caller, { account, container }, { metadata: {} })
  }
  seen.add(container)
}

async function putOne(exchange: Exchange, caller: Caller, path: ObjectPath, entry: TarEntry): Promise<void> {
  await using upload = await exchange.deps.orbit.objects.beginPut(caller, path, {
    attributes: { headers: {}, metadata: {} },
    length: entry.size,
    signal: requestSignal(exchange.raw),
  })
  for await (const chunk of entry.bytes()) await upload.write(chunk)
  await upload.finish()
}

/** @throws what is no refusal of one file, or the last that is taken */
function note(exchange: Exchange, error: unknown, shown: string, outcome: Outcome): void {
  const { status } = answerOf(exchange, error)
  if (isDamage(error) || status === 408 || status === 499) throw error
  if (status >= 500) {
    exchange.log.error({ err: error }, 'a file of an archive was not put')
    outcome.isBroken = true
  }
  outcome.errors.push([shown, statusLine(status)])
  if (status === 401) throw new SwiftProblem(401)
  if (outcome.errors.length >= BULK_LIMITS.failures) throw new SwiftProblem(400, 'Max failures exceeded')
}

function valuesOf({ created, errors, problem, isBroken }: Outcome) {
  const isEmpty = created === 0 && errors.length === 0
  const status = errors.length > 0 || isEmpty ? (isBroken ? 502 : 400) : 201
  const text = isEmpty ? 'Invalid Tar File: No Valid Files' : ''
  return {
    'Number Files Created': created,
    'Response Status': statusLine(problem?.status ?? status),
    'Response Body': problem ? (problem.text ?? '') : text,
  }
}
