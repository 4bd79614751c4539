import type { UnitCosts } from './costs.ts'

const GiB = 2 ** 30
const BLOCK = 2 ** 20
const DAY_S = 86_400
/** Of one block, that a pass of a collection remembers (src/data/disk/digest-ranges.ts). */
const DIGEST_BYTES = 128
/** Of a manifest. */
const BYTES_A_BLOCK = 36
/** Keys that an object store tells at a time. */
const KEYS = 1000

/** What a catalog holds of one image. */
export interface CatalogCosts {
  readonly rowsOfOne: Readonly<Record<string, number>>
  /** Of the image, its name and its events, indexes among them. */
  readonly bytes: number
}

export type Row = readonly [name: string, formula: string, figure: string]

/** The library of docs/guides/sizing.md. Data is that of disks, before compression, with no block twice. */
export const EXAMPLE = {
  images: 1_000_000,
  dataGiB: 1e15 / GiB,
  registrationsPerHour: 1000,
  /** Of each image that is registered. */
  downloads: 10,
  checkDays: 30,
} as const

const figure = (value: number, unit: string): string => {
  const text = value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(2)
  return `${text}${unit === '' ? '' : ` ${unit}`}`
}

const sum = (numbers: Readonly<Record<string, number>>) =>
  Object.values(numbers).reduce((total, one) => total + one, 0)

/** Each with the letter that formulas name it by. */
export function unitRows(costs: UnitCosts, catalog: CatalogCosts): Row[] {
  const { perImage, registered, downloaded, peakMiB, idle } = costs
  const { raw, 'raw.xz': xz } = registered
  const tables = Object.entries(catalog.rowsOfOne).map(([table, rows]) => `${rows} of ${table}`)
  const requests = (kinds: Readonly<Record<string, number>>, unit = 'requests'): Row[] =>
    Object.entries(kinds)
      .toSorted()
      .map(([kind, count]) => ['', `${kind}`, figure(count, unit)])
  return [
    ['rows of an image', `${tables.join(', ')}`, figure(sum(catalog.rowsOfOne), '')],
    ['catalog of an image, with indexes', '*c*', figure(catalog.bytes, 'bytes')],
    ['transactions of a registration', '*t*', figure(perImage.transactions, '')],
    ["PostgreSQL's processor, a registration", '*p*', figure(perImage.databaseSeconds, 's')],
    ["the API's processor, a registration, until its client knows", '*a*', figure(perImage.apiSeconds, 's')],
    ["the worker's processor, a GiB from raw", '*w*', figure(raw.seconds, 's')],
    ["the worker's processor, a GiB from raw.xz", '*x*', figure(xz.seconds, 's')],
    ['stored of a GiB', '*s*', figure(raw.bytes / GiB, 'GiB')],
    ['requests to the store, a GiB registered', '*q*', figure(sum(raw.requests), 'requests')],
    ...requests(raw.requests),
    ["the API's processor, a GiB downloaded as raw", '*d*', figure(downloaded.raw.seconds, 's')],
    ["the API's processor, a GiB downloaded as lz4", '*e*', figure(downloaded.lz4.seconds, 's')],
    ['requests to the store, a GiB downloaded', '*r*', figure(sum(downloaded.raw.requests), 'requests')],
    ...requests(downloaded.raw.requests),
    ['largest resident size of a worker', '', figure(peakMiB, 'MiB')],
    ['one API and one worker that are idle, processor', '', figure(idle.seconds * 100, '% of a core')],
    ['the same, transactions', '', figure(idle.transactions, 'a second')],
    ['the same, requests to the store', '*i*', figure(sum(idle.requests), 'a second')],
    ...requests(idle.requests, 'a second'),
  ]
}

export function sizingRows({ perImage, registered, downloaded }: UnitCosts, catalog: CatalogCosts): Row[] {
  const { images, dataGiB, registrationsPerHour, downloads, checkDays } = EXAMPLE
  const { raw, 'raw.xz': xz } = registered
  const each = dataGiB / images
  const perSecond = registrationsPerHour / 3600
  const flow = perSecond * each
  const stored = dataGiB * (raw.bytes / GiB)
  const blocks = (dataGiB * GiB) / BLOCK
  const checked = (stored * GiB) / checkDays / DAY_S
  // Its range of digests is halved until they are few enough.
  const passes = 2 ** Math.ceil(Math.log2((blocks * DIGEST_BYTES) / (8 * GiB)))
  return [
    ['data of an image, *D*', '10¹⁵ bytes ÷ 10⁶', figure(each, 'GiB')],
    ['registered, *F*', '1000 ÷ 3600 × *D*', figure(flow, 'GiB/s')],
    ['catalog', '10⁶ × *c*', figure((images * catalog.bytes) / GiB, 'GiB')],
    ['blocks in the store', '10¹⁵ ÷ 2²⁰', figure(blocks, '')],
    ['bytes in the store', '10¹⁵ × *s*', figure(stored / 1024, 'TiB')],
    ['transactions', '1000 ÷ 3600 × *t*', figure(perSecond * perImage.transactions, 'a second')],
    ["PostgreSQL's cores for them", '1000 ÷ 3600 × *p*', figure(perSecond * perImage.databaseSeconds, '')],
    ["the API's cores for them", '1000 ÷ 3600 × *a*', figure(perSecond * perImage.apiSeconds, '')],
    ["workers' cores, sources raw", '*F* × *w*', figure(flow * raw.seconds, '')],
    ["workers' cores, sources raw.xz", '*F* × *x*', figure(flow * xz.seconds, '')],
    ['requests to the store', '*F* × *q*', figure(flow * sum(raw.requests), 'a second')],
    [`downloads, ${downloads} of each, *G*`, `${downloads} × *F*`, figure(flow * downloads, 'GiB/s')],
    ["the API's cores for them, as raw", '*G* × *d*', figure(flow * downloads * downloaded.raw.seconds, '')],
    ["the API's cores for them, as lz4", '*G* × *e*', figure(flow * downloads * downloaded.lz4.seconds, '')],
    [
      'requests to the store for them',
      '*G* × *r*',
      figure(flow * downloads * sum(downloaded.raw.requests), 'a second'),
    ],
    [
      `check of everything in ${checkDays} days`,
      `10¹⁵ × *s* ÷ ${checkDays} days`,
      figure(checked / BLOCK, 'MiB/s'),
    ],
    [
      'passes of a collection with `collect.memory = 8 GiB`, *n*',
      '10¹⁵ ÷ 2²⁰ × 128 bytes ÷ 8 GiB, to a power of 2',
      figure(passes, ''),
    ],
    ['its requests to list blocks', '10¹⁵ ÷ 2²⁰ ÷ 1000', figure(blocks / KEYS / 1e6, 'million')],
    [
      'manifests that it reads',
      `*n* × 10¹⁵ ÷ 2²⁰ × ${BYTES_A_BLOCK} bytes`,
      figure((passes * blocks * BYTES_A_BLOCK) / 1024 ** 4, 'TiB'),
    ],
  ]
}

export function printRows(titles: readonly [string, string, string], rows: readonly Row[]): void {
  console.log(`\n| ${titles.join(' | ')} |\n|---|---|---|`)
  for (const row of rows) console.log(`| ${row.join(' | ')} |`)
}
