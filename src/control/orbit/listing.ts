import { setImmediate } from 'node:timers/promises'
import { trimEnd } from '#base/trim.ts'
import { afterAll, type NameWalk, type Walked } from '#control/catalog/name-walk.ts'
import type { ListQuery } from './orbit.ts'

/** Reads names in order, of the catalog or of whatever else is listed like it. */
export type Walk<Row> = (walk: NameWalk) => Promise<Walked<Row>[]>

/** Steps between which others get their turn, where names may be passed over without end. */
const STEPS = 1000

/** One page of a listing: names, and beginnings of names up to the delimiter. */
export async function listNames<Row extends { readonly name: string }>(
  walk: Walk<Row>,
  query: ListQuery,
): Promise<Walked<Row>[]> {
  const { limit } = query
  if (limit === 0) return []
  const range = rangeOf(query)
  if (range === undefined) return []
  if (query.path === undefined) return walk({ ...range, limit })
  const found: Walked<Row>[] = []
  for (let next = range; ; ) {
    const names = await walk({ ...next, limit: STEPS })
    found.push(...names.filter(({ group }) => group === null))
    const last = names.at(-1)
    if (!last || names.length < STEPS || found.length >= limit) return found.slice(0, limit)
    next = { ...next, ...past(last, next.reverse) }
    await setImmediate()
  }
}

/** What a query asks for; undefined where nothing can match. */
function rangeOf(query: ListQuery): Omit<NameWalk, 'limit'> | undefined {
  const { marker, endMarker, path, reverse = false } = query
  const isPath = path !== undefined
  const prefix = path === undefined ? (query.prefix ?? '') : path && `${trimEnd(path, '/')}/`
  const delimiter = isPath ? '/' : query.delimiter
  const groups = delimiter ? { prefix, delimiter, closed: isPath } : undefined
  const [above, below] = reverse ? [endMarker, marker] : [marker, endMarker]
  let lower = above ? { name: above, inclusive: false } : undefined
  if (prefix && (!lower || compareNames(lower.name, prefix) < 0)) lower = { name: prefix, inclusive: !isPath }
  let upper = below || undefined
  if (prefix && (upper === undefined || compareNames(upper, afterAll(prefix)) > 0)) upper = afterAll(prefix)
  // Who has seen a group does not want to see it again.
  if (above && groups && !isPath && groupOf(above, groups) === above)
    lower = { name: afterAll(above), inclusive: false }
  if (lower && upper !== undefined && compareNames(lower.name, upper) >= 0) return undefined
  return { lower, upper, reverse, groups }
}

function past({ group, row }: Walked<{ readonly name: string }>, reverse: boolean) {
  // A name that is the very beginning of the group, and none of it, comes right before all others that begin so.
  if (reverse) return { upper: group === null ? row.name : `${group}\u0001` }
  return { lower: { name: group === null ? row.name : afterAll(group), inclusive: false } }
}

function groupOf(
  name: string,
  { prefix, delimiter, closed }: NonNullable<NameWalk['groups']>,
): string | null {
  const found = name.startsWith(prefix) ? name.indexOf(delimiter, prefix.length) : -1
  const end = found + delimiter.length
  return found < 0 || (closed && end === name.length) ? null : name.slice(0, end)
}

/** The order of listings: that of the bytes of UTF-8. */
export const compareNames = (one: string, other: string): number =>
  Buffer.compare(Buffer.from(one), Buffer.from(other))

/** Walks what is no table of the catalog. */
export function walkRows<Row extends { readonly name: string }>(rows: readonly Row[]): Walk<Row> {
  const sorted = rows.toSorted((one, other) => compareNames(one.name, other.name))
  return async ({ lower, upper, reverse, limit, groups }) => {
    const inRange = sorted.filter(({ name }) => {
      const order = lower ? compareNames(name, lower.name) : 1
      return (
        (order > 0 || (order === 0 && lower?.inclusive)) &&
        (upper === undefined || compareNames(name, upper) < 0)
      )
    })
    const walked = inRange.map((row) => ({ group: groups ? groupOf(row.name, groups) : null, row }))
    return distinctGroups(reverse ? walked.reverse() : walked).slice(0, limit)
  }
}

/** Two walks as if they were one. */
export function joinWalks<Row extends { readonly name: string }>(
  one: Walk<Row>,
  other: Walk<Row>,
): Walk<Row> {
  return async (walk) => {
    const both = [...(await one(walk)), ...(await other(walk))].sort((a, b) =>
      compareNames(a.group ?? a.row.name, b.group ?? b.row.name),
    )
    return distinctGroups(walk.reverse ? both.reverse() : both).slice(0, walk.limit)
  }
}

const distinctGroups = <Row>(walked: readonly Walked<Row>[]): Walked<Row>[] =>
  walked.filter(({ group }, index) => group === null || group !== walked[index - 1]?.group)
