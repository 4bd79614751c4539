import type { Catalog } from '#control/catalog/catalog.ts'
import type { Reserve } from '#data/store/reserve.ts'
import type { App } from '#edge/http/app.ts'
import type { Readiness } from '#edge/http/probes.ts'
import { createCheckStates } from '../check-state.ts'
import { readCollectionState } from '../collection-state.ts'
import type { Metrics } from './metrics.ts'

export interface LookParts {
  readonly catalog: Catalog
  readonly reserve: Reserve
  readonly readiness: Readiness
  /** Undefined where this process has no such listener. */
  readonly app: App | undefined
  readonly nbd: () => { readonly connections: number } | undefined
  readonly now: () => number
}

/** More than are remembered. */
const DAMAGE_MAX = 10_000

/** Has a scrape look at what only the catalog, the disk and the listeners know. */
export function addLooks(metrics: Metrics, parts: LookParts): void {
  addBacklog(metrics, parts)
  addServers(metrics, parts)
  addUpkeep(metrics, parts)
  const { reserve, readiness, app, nbd } = parts
  metrics.beforeScrape({
    name: 'disk',
    metrics: ['image_library_disk_free_bytes', 'image_library_disk_reserve_bytes'],
    look() {
      const { free, kept } = reserve.look()
      metrics.set('image_library_disk_free_bytes', {}, free)
      metrics.set('image_library_disk_reserve_bytes', {}, kept)
    },
  })
  metrics.beforeScrape({
    name: 'listeners',
    metrics: ['image_library_ready', 'image_library_http_connections', 'image_library_nbd_connections'],
    async look() {
      metrics.set('image_library_ready', {}, (await readiness()).length === 0 ? 1 : 0)
      metrics.set('image_library_http_connections', {}, app ? await connectionsOf(app) : 0)
      metrics.set('image_library_nbd_connections', {}, nbd()?.connections ?? 0)
    },
  })
}

const connectionsOf = (app: App): Promise<number> =>
  new Promise((resolve, reject) =>
    app.server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  )

function addBacklog(metrics: Metrics, { catalog, now }: LookParts): void {
  const names = [
    'image_library_jobs_waiting',
    'image_library_jobs_running',
    'image_library_jobs_oldest_waiting_seconds',
  ] as const
  /** A kind that has no job any more has none, and is not absent. */
  const kinds = new Set<string>()
  metrics.beforeScrape({
    name: 'jobs',
    metrics: names,
    async look() {
      const at = now()
      const backlog = await catalog.jobs.backlog(at)
      for (const kind of kinds) for (const name of names) metrics.set(name, { kind }, 0)
      for (const { kind, waiting, running, waitingSince } of backlog) {
        kinds.add(kind)
        metrics.set('image_library_jobs_waiting', { kind }, waiting)
        metrics.set('image_library_jobs_running', { kind }, running)
        const seconds = waitingSince === null ? 0 : Math.max(0, at - waitingSince) / 1000
        metrics.set('image_library_jobs_oldest_waiting_seconds', { kind }, seconds)
      }
    },
  })
}

function addServers(metrics: Metrics, { catalog }: LookParts): void {
  metrics.beforeScrape({
    name: 'servers',
    metrics: ['image_library_servers'],
    async look() {
      const counts = await catalog.servers.countByStatus()
      metrics.forget('image_library_servers')
      for (const { status, count } of counts) metrics.set('image_library_servers', { status }, count)
    },
  })
}

function addUpkeep(metrics: Metrics, { catalog }: LookParts): void {
  const states = createCheckStates(catalog)
  const names = [
    'image_library_damaged_files',
    'image_library_check_last_finished_timestamp_seconds',
    'image_library_collection_last_finished_timestamp_seconds',
    'image_library_collection_runs_total',
    'image_library_collection_removed_bytes_total',
  ] as const
  metrics.beforeScrape({
    name: 'upkeep',
    metrics: names,
    async look() {
      const check = await states.read()
      const collection = await readCollectionState(catalog)
      const damaged = await catalog.damage.list(DAMAGE_MAX)
      metrics.forget(...names)
      metrics.set('image_library_damaged_files', {}, damaged.length)
      const checkedAt = check?.finishedAt ?? check?.lastFinishedAt ?? undefined
      if (checkedAt !== undefined)
        metrics.set('image_library_check_last_finished_timestamp_seconds', {}, checkedAt / 1000)
      const { runs = 0, bytesRemoved = 0, finishedAt } = collection ?? {}
      metrics.add('image_library_collection_runs_total', {}, runs)
      metrics.add('image_library_collection_removed_bytes_total', {}, bytesRemoved)
      if (finishedAt !== undefined)
        metrics.set('image_library_collection_last_finished_timestamp_seconds', {}, finishedAt / 1000)
    },
  })
}
