import { trimBoth } from '#base/trim.ts'
import { closeSignal } from '#edge/http/close-signal.ts'
import type { Caller } from '#model/orbit.ts'
import { type Exchange, headerOf } from './exchange.ts'
import { bestOutcomeType, outcomeValues, printOutcome } from './outcome.ts'
import { decodePercent, encodePath } from './path.ts'
import { announcedLength, holdText, receiveBody } from './receive-body.ts'
import { answerOf } from './refusals.ts'
import { SwiftProblem, sendBytes, statusLine, writeHead } from './reply.ts'

/** As `/info` announces them; containers are those that one archive has files for. */
export const BULK_LIMITS = { deletes: 10_000, containers: 10_000, failures: 1000 } as const
/** Bytes of a line: a container, an object, both with every byte percent-encoded, and two slashes. */
const LINE_MAX = 3 * (256 + 1024) + 2
/** Bytes that a name takes besides its own, about. */
const NAME_COST = 64
/** How often a client is told that work goes on. */
const HEARTBEAT_MS = 10_000
/** Faults of the list itself; the status of the answer is 200 all the same, the report says them. */
const REPORTED = [400, 406, 411, 413]

interface Outcome {
  deleted: number
  notFound: number
  readonly errors: [path: string, status: string][]
  /** What ended it early. */
  problem?: SwiftProblem
  /** Something failed on our side. */
  isBroken?: boolean
}

const newOutcome = (): Outcome => ({ deleted: 0, notFound: 0, errors: [] })

/** POST or DELETE of an account with `?bulk-delete`: removes what the lines of the body name. */
export async function bulkDelete(exchange: Exchange, caller: Caller): Promise<void> {
  const type = bestOutcomeType(exchange)
  const declaration = type.endsWith('/xml') ? '<?xml version="1.0" encoding="UTF-8"?>\n' : ''
  const report = (outcome: Outcome) => printOutcome(type, 'delete', valuesOf(outcome), outcome.errors)
  let names: readonly string[]
  try {
    names = await readNames(exchange, caller)
  } catch (problem) {
    if (!(problem instanceof SwiftProblem) || !REPORTED.includes(problem.status)) throw problem
    const text = declaration + report({ ...newOutcome(), problem })
    return sendBytes(exchange, 200, { 'Content-Type': type }, Buffer.from(text))
  }
  const { response } = exchange
  writeHead(exchange, 200, { 'Content-Type': type })
  if (declaration !== '') response.write(Buffer.from(declaration))
  let separator = ''
  const timer = setInterval(() => {
    // Proxies on the way lose patience with what says nothing.
    response.write(Buffer.from(' '))
    separator = '\r\n\r\n'
  }, HEARTBEAT_MS)
  try {
    const outcome = await removeAll(exchange, caller, names)
    response.end(Buffer.from(separator + report(outcome)))
  } finally {
    clearInterval(timer)
  }
}

/** Reads the lines, as they were sent but without spaces around them. @throws SwiftProblem */
async function readNames(exchange: Exchange, caller: Caller): Promise<string[]> {
  const type = headerOf(exchange, 'content-type')
  if (type && !type.startsWith('text/plain')) throw new SwiftProblem(406)
  announcedLength(exchange)
  const share = holdText(exchange)
  const names: string[] = []
  let rest = ''
  const take = (line: string) => {
    if (line.length > LINE_MAX) throw new SwiftProblem(400, 'Invalid File Name')
    const name = line.trim()
    if (name === '') return
    // Nobody is let remove anything, and more failures are not told.
    if (!caller.session && names.length === BULK_LIMITS.failures) return
    if (names.length === BULK_LIMITS.deletes) {
      throw new SwiftProblem(413, `Maximum Bulk Deletes: ${BULK_LIMITS.deletes} per request`)
    }
    share.add(NAME_COST + name.length)
    names.push(name)
  }
  await receiveBody(exchange, async (chunk) => {
    const lines = (rest + Buffer.from(chunk).toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
    if (rest.length > LINE_MAX) throw new SwiftProblem(400, 'Invalid File Name')
  })
  take(rest)
  return names
}

/** Objects first, so that their containers are empty when their turn comes. */
async function removeAll(exchange: Exchange, caller: Caller, names: readonly string[]): Promise<Outcome> {
  const signal = closeSignal(exchange.response)
  const outcome = newOutcome()
  const isObject = (name: string) => trimBoth(decodePercent(name) ?? name, '/').includes('/')
  for (const name of [...names.filter(isObject), ...names.filter((name) => !isObject(name))]) {
    signal.throwIfAborted()
    if (outcome.errors.length >= BULK_LIMITS.failures) {
      outcome.problem = new SwiftProblem(400, 'Max delete failures exceeded')
      return outcome
    }
    await removeOne(exchange, caller, name, outcome)
  }
  return outcome
}

async function removeOne(exchange: Exchange, caller: Caller, raw: string, outcome: Outcome): Promise<void> {
  const { orbit } = exchange.deps
  const name = decodePercent(raw)
  if (name === undefined || name.includes('\0')) {
    outcome.errors.push([raw, statusLine(412)])
    return
  }
  const [container = '', ...rest] = name.replace(/^\/+/, '').split('/')
  const path = { account: exchange.path.account, container }
  const object = rest.join('/')
  try {
    if (object === '') await orbit.containers.remove(caller, path)
    else await orbit.objects.remove(caller, { ...path, object })
    outcome.deleted++
  } catch (error) {
    const { status } = answerOf(exchange, error)
    if (status >= 500) {
      exchange.log.error({ err: error }, 'bulk delete of one name failed')
      outcome.isBroken = true
    }
    if (status === 404) outcome.notFound++
    else outcome.errors.push([encodePath(name), statusLine(status)])
  }
}

function valuesOf(outcome: Outcome) {
  const values = outcomeValues(outcome)
  const { problem, isBroken } = outcome
  if (problem) {
    return { ...values, 'Response Status': statusLine(problem.status), 'Response Body': problem.text ?? '' }
  }
  return isBroken ? { ...values, 'Response Status': statusLine(502) } : values
}
