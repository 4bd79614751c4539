import type { IncomingMessage, ServerResponse } from 'node:http'
import { MiB } from '#base/bytes.ts'
import { Shares } from '#base/shares.ts'
import { type App, intercept } from '#edge/http/app.ts'
import { underRequestId } from '#edge/http/request-scope.ts'
import { dispatch } from './dispatch.ts'
import { createTransId, type Exchange, type SwiftDeps } from './exchange.ts'
import { INFO } from './info.ts'
import { isLogin, logIn } from './login.ts'
import { type BadPath, parsePath, parseQuery, type SwiftPath } from './path.ts'
import { cutShort, watchConnection } from './receive-body.ts'
import { sendRefusal } from './refusals.ts'
import { SwiftProblem, sendBytes, sendEmpty, sendText } from './reply.ts'

/** Addresses that are ours: any version, the classic address of v1 auth, and what monitors ask. */
const OURS =
  /^(?:https?:\/\/[^/?]*)?(\/(?:v\d[^/?]*|auth\/v1(?:\.0)?|info|healthcheck)(?:\/[^?]*)?)(?:\?(.*))?$/s

/** Bytes of lists in memory at once: of names to delete, of segments, of what there is. */
const TEXTS = 128 * MiB
/** Processes at once, each with 80 MiB of memory, that unpack archives. */
const UNPACKING = 16

/** Adds the Swift API of Orbit: `/v1`, `/auth/v1.0`, `/info`, `/healthcheck`. */
export function addSwift(app: App, deps: SwiftDeps): void {
  const texts = new Shares({ total: TEXTS, busy: 'too many long lists are under way' })
  const unpacking = new Shares({ total: UNPACKING, busy: 'too many archives are being unpacked' })
  intercept(app, (surroundings) => ({
    edge: 'orbit',
    accepts: (url) => OURS.test(url),
    answer(raw, response) {
      const transId = createTransId(raw, deps.now())
      const asked = { deps, texts, unpacking, surroundings, transId }
      underRequestId(transId, () => void answer(asked, raw, response))
    },
    cutShort,
  }))
}

const NOWHERE: SwiftPath = { full: '', account: '', container: undefined, object: undefined }

async function answer(
  asked: Pick<Exchange, 'deps' | 'texts' | 'unpacking' | 'surroundings' | 'transId'>,
  raw: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { surroundings, transId } = asked
  const started = performance.now()
  const [, path = '/', query = ''] = OURS.exec(raw.url ?? '') ?? []
  const parsed = parsePath(path)
  const exchange: Exchange = {
    ...asked,
    raw,
    response,
    method: raw.method ?? 'GET',
    path: 'bad' in parsed ? NOWHERE : parsed,
    query: parseQuery(query),
    caller: undefined,
    body: 'unread',
    cut: undefined,
    cutStatus: undefined,
    log: surroundings.log,
    finishers: [],
  }
  watchConnection(exchange)
  response.once('close', () => {
    const { method, socket } = raw
    const ms = performance.now() - started
    const line = { method, path, status: response.statusCode, ms, ip: socket.remoteAddress, reqId: transId }
    surroundings.log.info(line, response.writableFinished ? 'request' : 'the client went away')
  })
  try {
    await route(exchange, path, parsed)
  } catch (error) {
    sendRefusal(exchange, error)
  }
}

/** @param path as it came, not decoded */
async function route(exchange: Exchange, path: string, parsed: SwiftPath | BadPath): Promise<void> {
  if (path === '/info') return probe(exchange, 'application/json; charset=UTF-8', JSON.stringify(INFO))
  if (path === '/healthcheck') {
    if ((await exchange.deps.readiness()).length > 0) return sendText(exchange, 503, 'DISABLED BY FILE')
    return probe(exchange, 'text/plain; charset=UTF-8', 'OK')
  }
  if (path.startsWith('/auth/') || 'bad' in parsed || parsed.account === '')
    return await enter(exchange, path, parsed)
  if (!/^\/v1(?:\.0)?\//.test(path)) throw new SwiftProblem(400)
  if (isLogin(exchange) && parsed.container === undefined) return await logIn(exchange)
  await dispatch(exchange)
}

/** What names no account: only a login makes sense there. */
async function enter(exchange: Exchange, path: string, parsed: SwiftPath | BadPath): Promise<void> {
  if (/^\/(?:auth\/)?v1(?:\.0)?\/?$/.test(path) && isLogin(exchange)) {
    const entered = { ...exchange, path: NOWHERE }
    return await logIn(entered)
  }
  throw new SwiftProblem(412, 'bad' in parsed ? parsed.bad : 'Bad URL')
}

/** What anybody may ask. */
function probe(exchange: Exchange, type: string, text: string): void {
  const { method } = exchange
  const allow = { Allow: 'HEAD, GET, OPTIONS' }
  if (method === 'OPTIONS') sendEmpty(exchange, 200, allow)
  else if (method !== 'GET' && method !== 'HEAD') throw new SwiftProblem(405, undefined, allow)
  else sendBytes(exchange, 200, { 'Content-Type': type }, Buffer.from(text))
}
