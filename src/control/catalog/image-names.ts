import { type Kysely, type RawBuilder, sql } from 'kysely'
import { wordsOf } from '#model/image-words.ts'
import { afterAll } from './name-walk.ts'
import type { ImageRow, Schema } from './schema.ts'

/** A place in the order of what was found. */
export interface NameCursor {
  /** What was found of the image's name. */
  readonly words: string
  readonly id: string
}

/** What rows of names are made of. */
export type NamedRow = Pick<ImageRow, 'id' | 'account_id' | 'name' | 'public' | 'status'>

/** Rows inserted by one statement. */
const INSERTED = 1000

/** Makes images be found by their names; they must not be so yet. */
export async function addNames(db: Kysely<Schema>, images: readonly NamedRow[]): Promise<void> {
  const rows = images
    .filter(({ status }) => status !== 'deleted')
    .flatMap((image) => wordsOf(image.name).map((words) => rowOf(image, words)))
  for (let index = 0; index < rows.length; index += INSERTED)
    await db
      .insertInto('image_names')
      .values(rows.slice(index, index + INSERTED))
      .execute()
}

const rowOf = (image: NamedRow, words: string) => ({
  image_id: image.id,
  words,
  account_id: image.account_id,
  open: openOf(image),
})

const openOf = (image: NamedRow): number => (image.public === 1 && image.status === 'available' ? 1 : 0)

/** Follows a change of an image, which is as `image` now. */
export async function changeNames(
  db: Kysely<Schema>,
  image: NamedRow,
  changed: { readonly name: boolean; readonly reach: boolean },
): Promise<void> {
  if (changed.name || image.status === 'deleted') {
    await db.deleteFrom('image_names').where('image_id', '=', image.id).execute()
    await addNames(db, [image])
  } else if (changed.reach) {
    const open = openOf(image)
    await db
      .updateTable('image_names')
      .set({ open })
      .where('image_id', '=', image.id)
      .where('open', '<>', open)
      .execute()
  }
}

export interface NameSearch {
  /** Folded. */
  readonly beginning: string
  readonly after?: NameCursor
  readonly limit?: number
}

interface Found {
  words: string
  image_id: string
}

/**
 * The images that an account may list and that have a word which begins so, each once, at the first of them. Own and
 * open ones are two index ranges that are already in order; a page takes at most `limit` from each, and what is in both
 * comes out once.
 */
export function foundByName(accountId: string, { beginning, after, limit }: NameSearch): RawBuilder<Found> {
  // Of two bounds on the same side, the index might be entered at the wrong one.
  const lower = after
    ? sql`(n.words, n.image_id) > (${after.words}, ${after.id})`
    : sql`n.words >= ${beginning}`
  // Values, not joins: they are looked up for the rows that are read and no others. Whom an image is shown to is what
  // itself says; `open` is a literal for the index of such rows only.
  const image = (column: string) => sql`(select i.${sql.raw(column)} from images i where i.id = n.image_id)`
  const first = sql`(select min(e.words) from image_names e
    where e.image_id = n.image_id and e.words >= ${beginning})`
  const order = limit === undefined ? sql`` : sql`order by words, image_id limit ${limit}`
  const part = (which: RawBuilder<unknown>) => sql`select * from (
    select n.words, n.image_id from image_names n
    where ${which} and ${lower} and n.words < ${afterAll(beginning)} and n.words = ${first} ${order}) part`
  return sql`(
    ${part(sql`n.account_id = ${accountId} and ${image('status')} <> 'deleted'`)}
    union
    ${part(sql`n.open = 1 and ${image('status')} = 'available' and ${image('public')} = 1`)}
    ${order})`
}
