/**
 * `node bench/catalog.ts`: how long listings and commits take with 10,000 visible images, the catalog alone, in a file
 * in the folder for temporary files.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Catalog, openCatalog } from '#control/catalog/catalog.ts'
import type { ImageCursor } from '#control/catalog/images.ts'
import type { Image } from '#model/image.ts'

const IMAGES = 10_000
const PAGE = 50

const folder = await mkdtemp(join(tmpdir(), 'bench-catalog-'))
try {
  await using catalog = await openCatalog({ path: join(folder, 'catalog.sqlite') })
  const accountId = await fill(catalog)
  print('the whole list', await repeat(20, () => catalog.images.listVisible(accountId, {})))
  let after: ImageCursor | undefined
  print(
    `pages of ${PAGE}`,
    await repeat(1000, async () => {
      const page = await catalog.images.listVisible(
        accountId,
        after ? { after, limit: PAGE } : { limit: PAGE },
      )
      after = page.at(-1)
    }),
  )
  print('a change, on the disk', await repeat(200, (count) => catalog.transaction(setting(count))))
  print('a change, relaxed', await repeat(200, (count) => catalog.relaxed(setting(count))))
} finally {
  await rm(folder, { recursive: true })
}

/** Half of the images are the account's own and private, half another's and public; every third has an ancestor. */
async function fill(catalog: Catalog): Promise<string> {
  return catalog.transaction(async (tables) => {
    const own = await tables.accounts.insert({ name: 'own', status: 'active', createdAt: 0 })
    const other = await tables.accounts.insert({ name: 'other', status: 'active', createdAt: 0 })
    let ancestorId: string | null = null
    for (let index = 0; index < IMAGES; index++) {
      const mine = index % 2 === 0
      const image = imageOf(mine ? own.id : other.id, index, !mine, index % 3 === 0 ? ancestorId : null)
      ancestorId = (await tables.images.insert(image)).id
    }
    return own.id
  })
}

function imageOf(
  accountId: string,
  index: number,
  open: boolean,
  ancestorId: string | null,
): Omit<Image, 'id'> {
  const url = `https://images.example.test/releases/${index}/disk.qcow2`
  return {
    accountId,
    name: `image ${index}`,
    arch: 'x86_64',
    status: 'available',
    description: 'A server image with the usual packages.',
    username: 'debian',
    sourceType: 'upload',
    sourceTrigger: 'manual',
    source: 'disk.qcow2',
    minRam: null,
    public: open,
    official: false,
    compatibilityMode: false,
    locked: false,
    licenceName: null,
    ancestorId,
    virtualSize: 2 ** 31,
    dataSize: 2 ** 30,
    manifest: index.toString(16).padStart(64, '0'),
    provenance: {
      url,
      finalUrl: url,
      formatChain: 'qcow2',
      bytes: 2 ** 29,
      sha256: 'ab'.repeat(32),
      etag: '"abc"',
      lastModified: null,
      notes: [],
    },
    progress: {
      phase: 'done',
      percent: 100,
      bytesDone: 2 ** 29,
      bytesTotal: 2 ** 29,
      rate: null,
      etaSeconds: 0,
      attempt: 1,
      message: null,
    },
    failure: null,
    damagedAt: null,
    createdAt: index >> 2,
    updatedAt: index,
  }
}

function setting(count: number) {
  return (tables: Pick<Catalog, 'settings'>) => tables.settings.set('bench', String(count))
}

/** @returns milliseconds of each call, shortest first */
async function repeat(times: number, work: (count: number) => Promise<unknown>): Promise<number[]> {
  const durations: number[] = []
  for (let count = 0; count < times; count++) {
    const start = performance.now()
    await work(count)
    durations.push(performance.now() - start)
  }
  return durations.sort((a, b) => a - b)
}

function print(what: string, durations: readonly number[]): void {
  const at = (share: number) => (durations[Math.floor((durations.length - 1) * share)] ?? 0).toFixed(2)
  console.log(`${what.padEnd(24)} median ${at(0.5)} ms, p99 ${at(0.99)} ms, worst ${at(1)} ms`)
}
