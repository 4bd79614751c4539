import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { type Member, startLargeLibrary } from '../../test/support/large-library.ts'
import type { TestServer } from '../../test/support/postgres.ts'
import { serveFolder } from '../registration.ts'
import { clearStore } from './clear-store.ts'
import { type CountingProxy, type StoreCounts, startCountingProxy } from './counting-proxy.ts'
import { cpuSeconds } from './measure.ts'
import { registerAll } from './registering.ts'
import { makeSources } from './sources.ts'

/** PostgreSQL counts what was done after a moment. */
const STATISTICS_MS = 1500
/** The processes are warm then. */
const WARM = 1

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

export interface UnitCosts {
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
  readonly images: number
  readonly sizeMiB: number
}

/** What registrations and downloads take of everything, in a library with nothing else to do. */
export async function measureCosts({ server, folder, images, sizeMiB }: CostsBench): Promise<UnitCosts> {
  const sources = await makeSources(folder, images + WARM, sizeMiB)
  using web = await serveFolder(sources.folder)
  const measure = async (form: '' | '.xz') => {
    const urls = sources.files.map((file) => web.url(file + form))
    return await inLibrary(server, async (library) => {
      await registerAll(library.api, urls.slice(images))
      return await measureLibrary(library, urls.slice(0, images), sizeMiB)
    })
  }
  const raw = await measure('')
  const xz = await measure('.xz')
  return {
    perImage: raw.perImage,
    registered: { raw: raw.registered, 'raw.xz': xz.registered },
    downloaded: raw.downloaded,
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
  const databasePid = Number(readFileSync(join(server.folder, 'data/postmaster.pid'), 'utf8').split('\n')[0])
  if (!proxy) throw new Error('internal error: the store was reached without its proxy')
  return await work({ api, worker, proxy, client, databasePid })
}

const pidOf = ({ process: { pid = 0 } }: Member) => pid

async function measureLibrary(
  { api, worker, proxy, client, databasePid }: Opened,
  urls: readonly string[],
  sizeMiB: number,
) {
  const gib = (urls.length * sizeMiB) / 1024
  const look = async () => {
    await delay(STATISTICS_MS)
    const { rows } = await client.query(
      'select xact_commit as done from pg_stat_database where datname = current_database()',
    )
    const [worked, answered] = [worker, api].map((member) => cpuSeconds(pidOf(member)))
    return {
      ...{ worker: worked ?? 0, api: answered ?? 0 },
      ...{ database: cpuSeconds(databasePid), transactions: Number(rows[0]?.done) },
    }
  }
  const before = await look()
  proxy.take()
  const { ids } = await registerAll(api, urls)
  const counts = proxy.take()
  const after = await look()
  const status = readFileSync(`/proc/${pidOf(worker)}/status`, 'utf8')
  const each = (what: keyof typeof after) => (after[what] - before[what]) / urls.length
  const download = async (form: 'raw' | 'lz4'): Promise<PerGiB> => {
    const began = cpuSeconds(pidOf(api))
    proxy.take()
    for (const id of ids) await readAll(`${api.url}/1.0/images/${id}/download?format=${form}`, api.token)
    return perGiB(proxy.take(), 'got', cpuSeconds(pidOf(api)) - began, gib)
  }
  return {
    perImage: {
      apiSeconds: each('api'),
      databaseSeconds: each('database'),
      transactions: each('transactions'),
    },
    registered: perGiB(counts, 'put', after.worker - before.worker, gib),
    downloaded: { raw: await download('raw'), lz4: await download('lz4') },
    peakMiB: Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024),
  }
}

function perGiB(counts: StoreCounts, way: 'put' | 'got', seconds: number, gib: number): PerGiB {
  const requests = Object.entries(counts.requests).map(([kind, count]) => [kind, count / gib] as const)
  return { seconds: seconds / gib, requests: Object.fromEntries(requests), bytes: counts[way] / gib }
}

async function readAll(url: string, token: string): Promise<void> {
  const { status, body } = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
  if (status !== 200 || !body) throw new Error(`${url}: ${status}`)
  for await (const _chunk of body);
}
