/**
 * `node bench/large.ts [--rounds N] [--only WORD] [--images N] [--size MiB] [--rows N] [--jobs N] [--claims N]
 * [--times N] [--seconds N] [--disk MiB] [--data MiB] [--folder DIR]`: the large shape, with PostgreSQL and an object
 * store of Ceph's on this machine: registrations by one worker and by two, requests to one API and to two, a catalog of
 * a million images, claims by sixteen workers, registrations into S3 and into a folder, and what everything costs.
 * Prints each bar of theirs as met or missed. `--only`: workers, catalog, requests, claims, stores or costs.
 */
import { mkdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { LARGE } from '../test/support/large-library.ts'
import { startPostgres } from '../test/support/postgres.ts'
import { shareServer, startRadosgw } from '../test/support/radosgw.ts'
import { isInstalled } from '../test/support/tools.ts'
import { benchCatalog } from './large/catalog.ts'
import { benchClaims } from './large/claims.ts'
import { measureCosts } from './large/costs.ts'
import { openManyImages } from './large/million.ts'
import { benchRequests } from './large/requests.ts'
import { printRows, sizingRows, unitRows } from './large/sizing.ts'
import { benchStores } from './large/stores.ts'
import { benchWorkers } from './large/workers.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    images: { type: 'string', default: '16' },
    size: { type: 'string', default: '64' },
    rows: { type: 'string', default: '1000000' },
    jobs: { type: 'string', default: '10000' },
    claims: { type: 'string', default: '100' },
    times: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '5' },
    disk: { type: 'string', default: '2048' },
    data: { type: 'string', default: '1200' },
    folder: { type: 'string', default: join(import.meta.dirname, '..', '.cache', 'bench') },
  },
})
const wants = (part: string) => part.startsWith(values.only)
const [rounds, images, sizeMiB] = [Number(values.rounds), Number(values.images), Number(values.size)]
const [diskMiB, dataMiB] = [Number(values.disk), Number(values.data)]
mkdirSync(values.folder, { recursive: true })
const folder = join(values.folder, 'large')

/** As a real server has it, and not as those of tests. */
const SETTINGS = { fsync: 'on', full_page_writes: 'on', autovacuum: 'on', shared_buffers: '1GB' }

const missing = LARGE.filter((tool) => !isInstalled(tool))
if (missing.length > 0)
  throw new Error(`the large shape takes programs that are not here: ${missing.join(', ')}`)
await using server = await startPostgres(SETTINGS)
await using objectStore = await startRadosgw()
shareServer(objectStore)
console.log(`${cpus().length} × ${cpus()[0]?.model}; Node ${process.version}; all on this machine`)

if (wants('workers')) await benchWorkers({ server, objectStore, folder, rounds, images, sizeMiB })
if (wants('stores'))
  await benchStores({ server, objectStore, folder: values.folder, rounds, diskMiB, dataMiB })
if (['catalog', 'requests', 'claims', 'costs'].some(wants)) {
  // First, as PostgreSQL has work for a while after a million rows came.
  const costs = wants('costs') && (await measureCosts({ server, folder: values.folder, diskMiB, dataMiB }))
  await using many = await openManyImages(server, folder, Number(values.rows))
  if (wants('catalog')) await benchCatalog(many, Number(values.times))
  if (wants('requests')) await benchRequests(many, { rounds, seconds: Number(values.seconds) })
  if (wants('claims')) await benchClaims(many, Number(values.jobs), Number(values.claims))
  if (costs) {
    const catalog = await many.costs()
    printRows(['unit cost', 'kind', 'is'], unitRows(costs, catalog))
    printRows(['it takes', 'computed as', 'that is'], sizingRows(costs, catalog))
  }
}
