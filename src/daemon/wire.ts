import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { Ledger } from '#base/ledger.ts'
import type { Auth } from '#control/auth/auth.ts'
import { createAuth } from '#control/auth/create-auth.ts'
import { type Catalog, openCatalog } from '#control/catalog/catalog.ts'
import { createJobQueue, type JobQueue } from '#control/jobs/queue.ts'
import { createLibrary } from '#control/library/create-library.ts'
import type { Library } from '#control/library/library.ts'
import { createUploadSeats } from '#control/library/upload-seats.ts'
import { createClock } from '#control/orbit/clock.ts'
import { createOrbit } from '#control/orbit/create-orbit.ts'
import { createObjectFinder } from '#control/orbit/find-object.ts'
import type { Orbit } from '#control/orbit/orbit.ts'
import { UploadGuard } from '#control/orbit/upload-guard.ts'
import type { Servers } from '#control/servers/servers.ts'
import { createContentStore, type OpenContentStore } from '#data/content/create-content-store.ts'
import { createIngest } from '#data/disk/ingest-runner.ts'
import { parseSourceUrl, redactUrl } from '#data/source/source-url.ts'
import { openStore, type StorePlace } from '#data/store/open-store.ts'
import { createReserve, type Reserve } from '#data/store/reserve.ts'
import type { Store } from '#data/store/store.ts'
import { randomText } from '#model/ids.ts'
import { demandAtHome } from './at-home.ts'
import type { Config } from './config.ts'
import { catalogPlace } from './data-folder.ts'
import { holdStorePlace } from './hold-store-place.ts'
import type { Observer } from './metrics/observer.ts'
import { traceIngest } from './trace-ingest.ts'
import { wireServers } from './wire-servers.ts'

/** The parts of a running library; disposing of it stops work under way and closes everything. */
export interface Parts extends AsyncDisposable {
  readonly store: Store
  /** Where threads and processes find it. */
  readonly storePlace: StorePlace
  readonly reserve: Reserve
  readonly catalog: Catalog
  readonly jobs: JobQueue
  readonly auth: Auth
  readonly library: Library
  readonly contents: OpenContentStore
  readonly orbit: Orbit
  readonly servers: Servers
  /** Has collection leave alone what is written from now on, until disposed of. */
  readonly keep: () => Promise<AsyncDisposable>
  /** Names this process among all that work on the catalog; never used twice. */
  readonly holder: string
  /** What we are reached at; whoever listens adds where. */
  readonly hosts: Set<string>
}

export interface WireOptions {
  readonly config: Config
  readonly log: Logger
  /** This process alone serves the folder: what a dead one left behind is cleared at once. */
  readonly exclusive: boolean
  /** Who counts, where somebody does. */
  readonly observer?: Observer
}

/** The one place where everything is put together; the data folder is there. Nothing runs before `library.start`. */
export async function wire({ config, log, exclusive, observer }: WireOptions): Promise<Parts> {
  const folder = (name: string) => join(config.data, name)
  // Whatever lies here belonged to a process that is dead.
  if (exclusive) await rm(folder('spool'), { recursive: true, force: true })
  await mkdir(folder('spool'), { recursive: true })
  await using opened = new AsyncDisposableStack()
  const storePlace = await holdStorePlace(config, opened)
  const store = opened.use(
    await openStore(storePlace, {
      exclusive: exclusive && !config.catalog,
      ...(observer && { onTime: observer.onStoreTime }),
    }),
  )
  const catalog = opened.use(await openCatalog(catalogPlace(config)))
  await demandAtHome(catalog)
  // Collection would wait half a day for what dead processes were writing; in a database, others may be alive.
  if (exclusive && !config.catalog) {
    await catalog.relaxed(async ({ uploadGuards, leases }) => {
      await uploadGuards.removeAll()
      await leases.removeAll()
    })
  }
  const holder = `${process.pid}-${randomText(10, randomBytes)}`
  const now = Date.now
  const elapsed = () => performance.now()
  const jobs = opened.use(
    createJobQueue({
      ...{ catalog, owner: holder, now, elapsed, generations: store, random: randomBytes, log },
      onAttempt: observer?.onAttempt,
    }),
  )
  const auth = createAuth({ catalog, now, random: randomBytes })
  const { threads, uploadsPerAccount, ...registrations } = config.registrations
  const hosts = new Set(config.http.publicUrl === undefined ? [] : [new URL(config.http.publicUrl).host])
  // What work under way was promised: of accounts' quotas, and of the disk.
  const promised = new Ledger()
  const seats = createUploadSeats(config.orbit.uploads)
  const reserve = createReserve({ directory: config.data, bytes: config.reserve })
  const ingest = traceIngest(
    createIngest({
      storePlace,
      spoolDirectory: folder('spool'),
      reserve: config.reserve,
      threads,
      onDeath: observer?.onRegistrationDeath,
    }),
  )
  const library: Library = opened.use(
    createLibrary({
      catalog,
      jobs,
      ingest: observer ? observer.measureIngest(ingest) : ingest,
      parseSourceUrl,
      redactUrl,
      findObject: (url, asker) => createObjectFinder({ orbit, hosts: () => hosts })(url, asker),
      joinParts: (parts) => contents.join(parts),
      openEditor: (base, options) => contents.openEditor(base, options),
      seats,
      limits: config.limits,
      allowSource: config.allowSource,
      registrations,
      works: { registrations: config.roles.has('worker'), snapshots: config.roles.has('servers') },
      uploadsPerAccount,
      quota: config.quota,
      uploadFolder: folder('uploads'),
      promised,
      reserve,
      generations: store,
      onVolumeRead: (serverId) => servers.volumeRead(serverId),
      onEnded: observer?.onRegistrationEnded,
      holder,
      now,
      log,
    }),
  )
  const guard = opened.use(new UploadGuard({ catalog, holder, now, generations: store }))
  const keep = () => guard.keep()
  const contents: OpenContentStore = opened.use(
    createContentStore({
      storePlace,
      spoolDirectory: folder('spool'),
      store,
      threads: config.orbit.threads,
      reserve: config.reserve,
      keep,
      ...observer?.pool,
    }),
  )
  const orbit: Orbit = createOrbit({
    catalog,
    contents,
    acquirePins: (manifests) => library.acquirePins(manifests),
    keep,
    now: createClock(now),
    quota: config.quota,
    seats,
    promised,
    reserve,
    bytesOfImages: (tables, accountId) => library.operator.bytesOf(tables, accountId),
  })
  const servers: Servers = opened.use(
    wireServers({ config, log, catalog, library, store, contents, reserve }),
  )
  const closing = opened.move()
  return {
    store,
    storePlace,
    reserve,
    catalog,
    jobs,
    auth,
    library,
    contents,
    orbit,
    servers,
    keep,
    holder,
    hosts,
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  }
}
