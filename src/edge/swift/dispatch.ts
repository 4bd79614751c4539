import type { Caller } from '#model/orbit.ts'
import { showAccount, updateAccount } from './account.ts'
import { uploadArchive } from './archive-upload.ts'
import { bulkDelete } from './bulk-delete.ts'
import { callerOf, tokenOf } from './caller.ts'
import { deleteContainer, putContainer, showContainer, updateContainer } from './container.ts'
import { copyObject } from './copy.ts'
import { answerPreflight, prepareCors } from './cors.ts'
import { type Exchange, headerOf } from './exchange.ts'
import { isTrue } from './metadata.ts'
import { deleteObject, showObject, updateObject } from './object.ts'
import { putObject } from './put-object.ts'
import { SwiftProblem, sendEmpty } from './reply.ts'
import { answerStaticWeb } from './static-web.ts'
import { invalidTempUrl } from './temp-url.ts'

type Handler = (exchange: Exchange, caller: Caller) => Promise<void>
type Handlers = Readonly<Record<string, Handler>>

const ACCOUNT: Handlers = { GET: showAccount, HEAD: showAccount, POST: updateAccount }
const CONTAINER: Handlers = {
  GET: showContainer,
  HEAD: showContainer,
  PUT: putContainer,
  POST: updateContainer,
  DELETE: deleteContainer,
}
const OBJECT: Handlers = {
  GET: showObject,
  HEAD: showObject,
  PUT: putObject,
  POST: updateObject,
  DELETE: deleteObject,
  COPY: copyObject,
}
const ALLOW: ReadonlyMap<Handlers, string> = new Map([
  [ACCOUNT, 'OPTIONS, GET, HEAD, POST'],
  [CONTAINER, 'POST, HEAD, PUT, OPTIONS, DELETE, GET'],
  [OBJECT, 'OPTIONS, GET, DELETE, HEAD, PUT, POST, COPY'],
])

/** Finds who asks for what and has it answered. @throws OrbitRefusal, SwiftProblem */
export async function dispatch(exchange: Exchange): Promise<void> {
  const { method, path, query } = exchange
  for (const [name, value] of query) {
    if (value === undefined) throw new SwiftProblem(400, `"${name}" parameter not valid UTF-8`)
  }
  const { handlers, handle } = resourceOf(exchange)
  if (method === 'OPTIONS') {
    const allow = ALLOW.get(handlers) ?? ''
    if (headerOf(exchange, 'origin') !== undefined) return await answerPreflight(exchange, allow)
    return sendEmpty(exchange, 200, { Allow: allow })
  }
  if (!handle) throw new SwiftProblem(405, undefined, { Allow: ALLOW.get(handlers) ?? '' })
  if (path.container !== undefined && headerOf(exchange, 'origin') !== undefined) {
    await prepareCors(exchange)
  }
  const caller = await callerOf(exchange)
  exchange.caller = caller
  // What is signed is one object's address; a request about many would reach others by it.
  if (caller.grant && handle !== OBJECT[method]) throw invalidTempUrl(method)
  if (isForWeb(exchange, caller) && (await answerStaticWeb(exchange, caller))) return
  await handle(exchange, caller)
}

function resourceOf({ method, path, query }: Exchange): { handlers: Handlers; handle: Handler | undefined } {
  const handlers = path.object !== undefined ? OBJECT : path.container !== undefined ? CONTAINER : ACCOUNT
  if (query.has('bulk-delete') && (method === 'POST' || method === 'DELETE')) {
    return { handlers, handle: bulkDelete }
  }
  if (method === 'PUT' && query.has('extract-archive')) return { handlers, handle: uploadArchive }
  return { handlers, handle: Object.hasOwn(handlers, method) ? handlers[method] : undefined }
}

/** Pages are for people; a token or a signature says that a program wants what is there as it is. */
function isForWeb(exchange: Exchange, caller: Caller): boolean {
  const { method, path } = exchange
  if (path.container === undefined || (method !== 'GET' && method !== 'HEAD')) return false
  if (caller.grant) return false
  return tokenOf(exchange) === undefined || isTrue(headerOf(exchange, 'x-web-mode'))
}
