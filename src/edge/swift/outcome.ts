import type { BulkOutcome } from '#control/orbit/orbit.ts'
import { type Exchange, headerOf } from './exchange.ts'
import { bestType, element, type ListingType } from './listing.ts'
import { sendBytes } from './reply.ts'

type Values = Readonly<Record<string, string | number>>
type Errors = readonly (readonly [path: string, why: string])[]

/** The type of a report; text where the client likes nothing that we have. */
export const bestOutcomeType = (exchange: Exchange): ListingType =>
  bestType(headerOf(exchange, 'accept')) ?? 'text/plain'

/**
 * Prints a report of what became of many things, as Swift's bulk operations do.
 * @param root the element around it in XML
 */
export function printOutcome(type: ListingType, root: string, values: Values, errors: Errors): string {
  const sorted = Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1))
  if (type === 'application/json') return JSON.stringify({ ...values, Errors: errors })
  if (type === 'text/plain') {
    const lines = sorted.map(([name, value]) => `${name}: ${value}\n`)
    return `${lines.join('')}Errors:\n${errors.map(([path, why]) => `${path}, ${why}\n`).join('')}`
  }
  const tags = sorted.map(([name, value]) => {
    const tag = name.replaceAll(' ', '_').toLowerCase()
    return `<${tag}>${element(String(value))}</${tag}>\n`
  })
  const objects = errors.map(
    ([path, why]) => `<object><name>${element(path)}</name><status>${element(why)}</status></object>\n`,
  )
  return `<${root}>\n${tags.join('')}<errors>\n${objects.join('')}</errors>\n</${root}>\n`
}

/** What the report of a deletion says: all is well where nothing failed and there was something to do. */
export function outcomeValues({ deleted, notFound, errors }: BulkOutcome): Values {
  const isGood = errors.length === 0 && deleted + notFound > 0
  return {
    'Number Deleted': deleted,
    'Number Not Found': notFound,
    'Response Status': isGood ? '200 OK' : '400 Bad Request',
    'Response Body': deleted + notFound + errors.length > 0 ? '' : 'Invalid bulk delete.',
  }
}

/** Answers 200 whatever came of it; the body says what did. */
export function sendOutcome(exchange: Exchange, type: ListingType, root: string, outcome: BulkOutcome): void {
  const body = printOutcome(type, root, outcomeValues(outcome), outcome.errors)
  sendBytes(exchange, 200, { 'Content-Type': type }, Buffer.from(body))
}
