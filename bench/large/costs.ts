import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { type Member, startLargeLibrary } from '../../test/support/large-library.ts'
import type { TestServer } from '../../test/support/postgres.ts'
import { makeBenchDisk } from '../disk.ts'
import { serveFolder } from '../registration.ts'
import { clearStore } from './clear-store.ts'
import { type CountingProxy, type StoreCounts, startCountingProxy } from './counting-proxy.ts'
import { cpuSeconds, databasePid } from './measure.ts'
import { registerAll } from './registering.ts'
import { makeSources } from './sources.ts'

/** PostgreSQL counts what was done after a moment. */
const STATISTICS_MS = 1500
/** For what goes on by itself. */
const IDLE_MS = 10_000
/** Of what is registered first: the processes are warm then. */
const WARM_MIB = 64

/** What one registration costs besides its bytes. */
interface PerImage {
  readonly apiSeconds: number
  readonly databaseSeconds: number
  readonly transactions: number
}

/** What a GiB costs; of requests to the object store, by kind. */
interface PerGiB {
  readonly seconds: number
  readonly requests: Readonly<Record<string, number>>
  /** Put, or got. */
  readonly bytes: number
}

/** A second of an API process and a worker that have nothing to do. */
interface Idle {
  readonly requests: Readonly<Record<string, number>>
  readonly transactions: number
  readonly seconds: number
}

export interface UnitCosts {
  /** Of data, in the image that all this was measured with. */
  readonly gib: number
  readonly idle: Idle
  readonly perImage: PerImage
  /** By the form of the source. */
  readonly registered: Readonly<Record<'raw' | 'raw.xz', PerGiB>>
  /** By the form that is read. */
  readonly downloaded: Readonly<Record<'raw' | 'lz4', PerGiB>>
  /** Of a worker. */
  readonly peakMiB: number
}

export interface CostsBench {
  readonly server: TestServer
  readonly folder: string
  readonly diskMiB: number
  readonly dataMiB: number
}

const FORMS = { raw: 'disk.raw', 'raw.xz': 'disk-blocks.raw.xz' }

/** What one registration of a large image and its downloads take, in a library with nothing else to do. */
export async function measureCosts({ server, folder, diskMiB, dataMiB }: CostsBench): Promise<UnitCosts> {
  const disk = await makeBenchDisk(folder, diskMiB, dataMiB, [FORMS['raw.xz']])
  const small = await makeSources(join(folder, 'large'), 1, WARM_MIB)
  using web = await serveFolder(disk.folder)
  using warmWeb = await serveFolder(small.folder)
  const gib = disk.dataMiB / 1024
  const measure = (form: keyof typeof FORMS) =>
    inLibrary(server, async (library) => {
      await registerAll(library.api, small.files.map(warmWeb.url))
      return await measureLibrary(library, web.url(FORMS[form]), gib)
    })
  const raw = await measure('raw')
  const xz = await measure('raw.xz')
  return {
    ...raw,
    gib,
    registered: { raw: raw.registered, 'raw.xz': xz.registered },
    peakMiB: Math.max(raw.peakMiB, xz.peakMiB),
  }
}

interface Opened {
  readonly api: Member
  readonly worker: Member
  readonly proxy: CountingProxy
  readonly client: pg.Client
  /** Of PostgreSQL. */
  readonly databasePid: number
}

async function inLibrary<T>(server: TestServer, work: (library: Opened) => Promise<T>): Promise<T> {
  await using opened = new AsyncDisposableStack()
  let proxy: CountingProxy | undefined
  const endpoint = async (of: string) => {
    proxy = opened.use(await startCountingProxy(of))
    return proxy.endpoint
  }
  const library = await startLargeLibrary({ server, endpoint })
  opened.defer(async () => {
    await library[Symbol.asyncDispose]()
    await clearStore(library.words.at(-1) ?? '')
  })
  const api = await library.start('api')
  const worker = await library.start('worker')
  const client = new pg.Client(library.words[1])
  await client.connect()
  opened.defer(() => client.end())
  if (!proxy) throw new Error('internal error: the store was reached without its proxy')
  return await work({ api, worker, proxy, client, databasePid: databasePid(server.folder) })
}

const pidOf = ({ process: { pid = 0 } }: Member) => pid

async function measureLibrary(library: Opened, url: string, gib: number) {
  const { api, worker, proxy } = library
  const idleFrom = await look(library)
  proxy.take()
  await delay(IDLE_MS)
  const idleCounts = proxy.take()
  const before = await look(library)
  const idleSeconds = before.at - idleFrom.at
  proxy.take()
  const { ids } = await registerAll(api, [url])
  const counts = proxy.take()
  const after = await look(library)
  const status = readFileSync(`/proc/${pidOf(worker)}/status`, 'utf8')
  const download = async (form: 'raw' | 'lz4'): Promise<PerGiB> => {
    const began = cpuSeconds(pidOf(api))
    proxy.take()
    for (const id of ids) await readAll(`${api.url}/1.0/images/${id}/download?format=${form}`, api.token)
    return perGiB(proxy.take(), 'got', cpuSeconds(pidOf(api)) - began, gib)
  }
  const idleOf = (what: 'api' | 'worker' | 'transactions') => (before[what] - idleFrom[what]) / idleSeconds
  return {
    idle: {
      requests: over(idleCounts.requests, IDLE_MS / 1000),
      transactions: idleOf('transactions'),
      seconds: idleOf('api') + idleOf('worker'),
    },
    perImage: {
      apiSeconds: after.api - before.api,
      databaseSeconds: after.database - before.database,
      transactions: after.transactions - before.transactions,
    },
    registered: perGiB(counts, 'put', after.worker - before.worker, gib),
    downloaded: { raw: await download('raw'), lz4: await download('lz4') },
    peakMiB: Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024),
  }
}

/** What has been used so far, in seconds, of processor but for `at`. */
async function look({ api, worker, client, databasePid }: Opened) {
  await delay(STATISTICS_MS)
  const { rows } = await client.query(
    'select xact_commit as done from pg_stat_database where datname = current_database()',
  )
  return {
    at: performance.now() / 1000,
    worker: cpuSeconds(pidOf(worker)),
    api: cpuSeconds(pidOf(api)),
    database: cpuSeconds(databasePid),
    transactions: Number(rows[0]?.done),
  }
}

const over = (counts: Readonly<Record<string, number>>, parts: number) =>
  Object.fromEntries(Object.entries(counts).map(([kind, count]) => [kind, count / parts]))

function perGiB(counts: StoreCounts, way: 'put' | 'got', seconds: number, gib: number): PerGiB {
  return { seconds: seconds / gib, requests: over(counts.requests, gib), bytes: counts[way] / gib }
}

async function readAll(url: string, token: string): Promise<void> {
  const { status, body } = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
  if (status !== 200 || !body) throw new Error(`${url}: ${status}`)
  for await (const _chunk of body);
}
