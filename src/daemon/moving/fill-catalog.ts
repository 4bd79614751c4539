import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { type Row, RowSum } from '#control/catalog/row-lines.ts'

type RowsOf = (table: string) => AsyncIterable<Row>

/**
 * Puts rows in the place of all that a catalog has, in one transaction, and reads them back.
 * @param rowsOf called once or twice for each table, for the same rows
 * @throws corrupt where other rows are read than were written
 */
export async function fillCatalog(
  catalog: Catalog,
  tables: readonly string[],
  rowsOf: RowsOf,
): Promise<void> {
  await catalog.transaction(async ({ rows }) => {
    await rows.clear()
    for (const table of tables) {
      await rows.fill(table, () => rowsOf(table))
      const [wanted, found] = [await sumRows(rowsOf(table)), await sumRows(rows.read(table))]
      if (!wanted.equals(found))
        throw new LibraryError('corrupt', `fill the table ${table}: other rows are there than were written`)
    }
  })
}

/** Whether there are the same rows in these tables. */
export async function haveSameRows(tables: readonly string[], one: RowsOf, other: RowsOf): Promise<boolean> {
  for (const table of tables)
    if (!(await sumRows(one(table))).equals(await sumRows(other(table)))) return false
  return true
}

async function sumRows(rows: AsyncIterable<Row>): Promise<RowSum> {
  const sum = new RowSum()
  for await (const row of rows) sum.add(row)
  return sum
}
