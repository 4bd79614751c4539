import { quantile } from '../object-client.ts'
import { printBar, spread, timeEach } from './measure.ts'
import type { ManyImages } from './million.ts'
import { openPlanned } from './plans.ts'

const PAGE = 50
const MS_MOST = 20
/** For what is told "on paper". */
const MANY = 100_000_000
const INDEX_PAGE = 8192
/** An inner page of an index is so full after a while. */
const FULL = 0.7

interface Question {
  readonly name: string
  readonly ask: (count: number) => Promise<unknown>
}

/** Pages, single images and searches, asked of the catalog as the API asks it; then how PostgreSQL found them. */
export async function benchCatalog(
  { url, client, accountId, ids }: ManyImages,
  times: number,
): Promise<void> {
  await using planned = openPlanned(url)
  const { images, objects } = planned
  const { rows } = await client.query(`select id, (select min(created_at) from images) as first
    from containers where name = 'bench'`)
  const [container, first] = [Number(rows[0]?.id), Number(rows[0]?.first)]
  const { rows: counted } = await client.query('select count(*) from images')
  const total = Number(counted[0]?.count)
  /** One after another from all over the catalog. */
  const anywhere = (count: number) => 1 + ((count * 7919) % total)
  const asked: Question[] = [
    { name: `page of ${PAGE}, the first`, ask: () => images.listVisible(accountId, { limit: PAGE }) },
    {
      name: `page of ${PAGE}, from anywhere`,
      ask: (count) => {
        const after = { createdAt: first + anywhere(count) * 1000, id: 'img-00000' }
        return images.listVisible(accountId, { limit: PAGE, after })
      },
    },
    { name: 'show', ask: (count) => images.findShown(ids[(count * 7919) % ids.length] ?? '') },
    {
      name: `search by name: ${PAGE} images, the first of all`,
      ask: () => images.listNamed(accountId, { beginning: 'image', limit: PAGE }),
    },
    {
      name: `search by name: ${PAGE} images of all, from anywhere`,
      ask: (count) => {
        const after = { words: `image ${anywhere(count)}`, id: 'img-00000' }
        return images.listNamed(accountId, { beginning: 'image', limit: PAGE, after })
      },
    },
    {
      name: 'search by name: a few images',
      // Numbers of the account, at the second word.
      ask: (count) => {
        const number = anywhere(count) - (anywhere(count) % 100)
        return images.listNamed(accountId, { beginning: String(number), limit: PAGE })
      },
    },
    {
      name: 'search by name: images that nobody has',
      ask: (count) => images.listNamed(accountId, { beginning: `nothing ${count}`, limit: PAGE }),
    },
    {
      name: 'search by name: an object',
      ask: (count) => {
        const number = anywhere(count)
        const object = `folder ${Math.floor(number / 1000)}/${number}`
        return objects.find({ accountId, container: 'bench', object }, 1)
      },
    },
    {
      name: `search by name: ${PAGE} objects by prefix`,
      ask: (count) =>
        objects.walk(container, {
          reverse: false,
          limit: PAGE,
          lower: { name: `folder ${Math.floor(anywhere(count) / 1000)}/`, inclusive: true },
        }),
    },
  ]
  console.log(`\n## Catalog with ${total} images of 100 accounts\n`)
  console.log('| | median, ms | p99, ms | worst, ms |\n|---|---|---|---|')
  const measured: [string, number[]][] = []
  for (const { name, ask } of asked) {
    measured.push([name, await timeEach(times, ask)])
    console.log(`| ${name} | ${spread(measured.at(-1)?.[1] ?? [])} |`)
  }
  console.log()
  for (const [name, ms] of measured)
    printBar({ what: `catalog, ${name}, p99`, value: quantile(ms, 0.99), unit: ' ms', most: MS_MOST })
  for (const { name, ask } of asked) await planned.printPlans(name, () => ask(1))
  await printPaper(client)
}

/**
 * What grows with the catalog is only the height of the indexes: each step of a plan that begins in one goes down so
 * many pages.
 */
async function printPaper(client: ManyImages['client']): Promise<void> {
  const { rows } = await client.query(
    `select indexrelid::regclass::text as index, pg_relation_size(indexrelid) as bytes,
        reltuples::bigint as entries from pg_index join pg_class on pg_class.oid = indexrelid
      where indrelid in ('images'::regclass, 'image_names'::regclass, 'objects'::regclass)
        and reltuples > 0 order by 1`,
  )
  console.log(`\n| index | bytes an entry | pages down now | with ${MANY} entries | size then, GiB |`)
  console.log('|---|---|---|---|---|')
  for (const { index, bytes, entries } of rows) {
    const each = Number(bytes) / Number(entries)
    const height = (count: number) =>
      Math.ceil(Math.log((count * each) / INDEX_PAGE) / Math.log((INDEX_PAGE * FULL) / each)) + 1
    const size = ((MANY * each) / 2 ** 30).toFixed(1)
    console.log(`| ${index} | ${each.toFixed(0)} | ${height(Number(entries))} | ${height(MANY)} | ${size} |`)
  }
}
