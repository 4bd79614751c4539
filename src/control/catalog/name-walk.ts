import { type RawBuilder, sql } from 'kysely'
import type { TableContext } from './context.ts'

/** A stretch of names in the order of their bytes, as UTF-8. */
export interface NameWalk {
  /** Only names after this one, or from it on. */
  readonly lower?: { readonly name: string; readonly inclusive: boolean } | undefined
  /** Only names before this one. */
  readonly upper?: string | undefined
  readonly reverse: boolean
  readonly limit: number
  /** Takes names that have the delimiter in them as one, whatever follows it, and goes past all of them at once. */
  readonly groups?: NameGroups | undefined
}

export interface NameGroups {
  /** All names of the walk begin with it; the delimiter counts only after it. */
  readonly prefix: string
  readonly delimiter: string
  /** A name that ends right after the delimiter is no group but a name. */
  readonly closed: boolean
}

/** One name with its row; of a group, a row of it and what its names begin with, delimiter included. */
export interface Walked<Row> {
  readonly group: string | null
  readonly row: Row
}

/** Longer than any name, of the last character there is. */
const LAST = '\u{10FFFF}'.repeat(256)

/** Sorts after all names that begin so. */
export const afterAll = (beginning: string): string => beginning + LAST

export interface WalkedTable<Row, Listed> {
  readonly table: 'containers' | 'objects'
  readonly key: 'account_id' | 'container_id'
  readonly value: string | number
  /** Besides the name. */
  readonly columns: readonly string[]
  readonly walk: NameWalk
  readonly read: (row: Row) => Listed
}

/** Reads names in order: those of one key's range of the index and no others. */
export async function walkNames<Row, Listed>(
  { db, dialect }: TableContext,
  { table, key, value, columns, walk, read }: WalkedTable<Row, Listed>,
): Promise<Walked<Listed>[]> {
  const { groups } = walk
  const query = groups
    ? groupedWalk({ table, key, value, columns, walk, groups, position: dialect.position })
    : sql<Row>`
      select ${namesOf('t', columns)} from ${sql.table(table)} t
      where ${within('t', key, value, walk)} order by t.name ${order(walk)} limit ${walk.limit}`
  const { rows } = await (query as RawBuilder<Row & { readonly grouped?: string | null }>).execute(db)
  return rows.map((row) => ({ group: row.grouped ?? null, row: read(row) }))
}

/**
 * Each step seeks the first name past the group of the one before it: what a page costs does not depend on how many
 * names a group has.
 */
function groupedWalk({
  table,
  key,
  value,
  columns,
  walk,
  groups: { prefix, delimiter, closed },
  position,
}: Omit<WalkedTable<never, never>, 'read'> & {
  readonly groups: NameGroups
  readonly position: TableContext['dialect']['position']
}) {
  const { reverse, limit } = walk
  const skipped = [...prefix].length
  const name = sql.ref('h.name')
  const found = position(sql`substr(${name}, ${sql.lit(skipped + 1)})`, sql`${delimiter}`)
  const end = sql`${sql.lit(skipped + [...delimiter].length - 1)} + ${found}`
  const grouped = closed ? sql`${found} > 0 and length(${name}) > ${end}` : sql`${found} > 0`
  const group = sql`case when ${grouped} then substr(${name}, 1, ${end}) end`
  // Backwards, a name that is the group's own beginning is passed over with it, unless it is none of the group.
  const past = reverse ? (closed ? '\u0001' : '') : LAST
  const next = sql`coalesce(${group} || ${past}, ${name})`
  const further = reverse ? sql`t.name < ${next}` : sql`t.name > ${next}`
  // Of two bounds on the same side, the index might be entered at the wrong one.
  const { lower, upper } = walk
  const rest = within('t', key, value, reverse ? { lower } : { upper })
  const from = sql.table(table)
  return sql`
    with recursive heads (name, step) as (
      select * from (
        select t.name, 1 from ${from} t
        where ${within('t', key, value, walk)} order by t.name ${order(walk)} limit 1
      ) as first
      union all
      select (
        select t.name from ${from} t
        where ${rest} and ${further} order by t.name ${order(walk)} limit 1
      ), h.step + 1
      from heads h where h.name is not null and h.step < ${limit}
    )
    select ${group} as grouped, ${namesOf('t', columns)}
    from heads h cross join ${from} t where ${sql.ref(`t.${key}`)} = ${value} and t.name = h.name
    order by h.step limit ${limit}`
}

const order = ({ reverse }: NameWalk) => (reverse ? sql`desc` : sql`asc`)

const namesOf = (table: string, columns: readonly string[]) =>
  sql.join(['name', ...columns].map((column) => sql.ref(`${table}.${column}`)))

function within(
  table: string,
  key: string,
  value: string | number,
  { lower, upper }: Pick<NameWalk, 'lower' | 'upper'>,
) {
  const name = sql.ref(`${table}.name`)
  const parts = [sql`${sql.ref(`${table}.${key}`)} = ${value}`]
  if (lower) parts.push(lower.inclusive ? sql`${name} >= ${lower.name}` : sql`${name} > ${lower.name}`)
  if (upper !== undefined) parts.push(sql`${name} < ${upper}`)
  return sql.join(parts, sql` and `)
}
