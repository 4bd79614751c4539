import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { tryAlone } from '#control/jobs/alone.ts'
import { type App, createApp } from '#edge/http/app.ts'
import { addProbes } from '#edge/http/probes.ts'
import type { NbdService } from '#edge/nbd/service.ts'
import type { SftpService } from '#edge/sftp/listener.ts'
import { addEdges } from './add-edges.ts'
import { type Bootstrapped, bootstrap } from './bootstrap.ts'
import type { Config } from './config.ts'
import { closeToOthers, makeDataFolder } from './data-folder.ts'
import { lockDataFolder } from './data-lock.ts'
import { listenError, reachable } from './listen-error.ts'
import { addLooks } from './metrics/looks.ts'
import { createMetrics } from './metrics/metrics.ts'
import { createObserver } from './metrics/observer.ts'
import { createReadiness, type Stage } from './readiness.ts'
import { type MetricsService, serveMetrics } from './serve-metrics.ts'
import { serveNbd } from './serve-nbd.ts'
import { serveSftp } from './serve-sftp.ts'
import { holdServers } from './servers-home.ts'
import { startUpkeep } from './upkeep.ts'
import { readVersion } from './version.ts'
import { type Parts, wire } from './wire.ts'

const ERASE_MS = 60_000

export interface Started {
  /** Where it listens: scheme, address and port. */
  readonly url: string
  /** Where SFTP listens, where it does, and by what its clients know it. */
  readonly sftp: { readonly url: string; readonly fingerprint: string } | undefined
  /** Where images are offered over NBD, where they are. */
  readonly nbd: string | undefined
  /** Where metrics are read, where they are. */
  readonly metrics: string | undefined
  /** Set where the data folder is new. */
  readonly bootstrapped: Bootstrapped | undefined
}

export interface ServeOptions {
  readonly config: Config
  readonly log: Logger
  readonly onStarted: (started: Started) => void
  /** Stops the library: requests under way may end, registrations are put off and taken up at the next start. */
  readonly stopping: AbortSignal
}

/** Runs a library until it is told to stop; resolves once everything is closed. */
export async function serve({ config, log, onStarted, stopping }: ServeOptions): Promise<void> {
  await makeDataFolder(config.data)
  using _lock = lockDataFolder(config.data)
  if (await closeToOthers(config.data)) {
    log.warn({ folder: config.data }, 'others may look into the data folder; chmod 700 would end that')
  }
  const metrics = createMetrics({
    version: readVersion(),
    onFailure: (error, look) => log.warn({ err: error, look }, 'cannot look for metrics'),
  })
  const observer = createObserver(metrics)
  await using parts = await wire({ config, log, exclusive: true, observer })
  const state = { isReady: false }
  const stage = (): Stage => (stopping.aborted ? 'stopping' : state.isReady ? 'serving' : 'starting')
  const readiness = createReadiness({ ...parts, stage, now: Date.now, log })
  const app = await createApp({
    logger: log,
    silenceMs: config.http.silenceMs,
    connections: config.http.connections,
    observer: observer.http,
  })
  closeWhenStopping(app, stopping)
  addProbes(app, readiness)
  await addEdges(app, config, parts, { readiness, stopping })
  const { roles } = config
  let erasing: NodeJS.Timeout | undefined
  let sftp: SftpService | undefined
  let nbd: NbdService | undefined
  let upkeep: AsyncDisposable | undefined
  let home: AsyncDisposable | undefined
  let scraped: MetricsService | undefined
  let giving: PromiseLike<void> | undefined
  addLooks(metrics, { ...parts, readiness, app, nbd: () => nbd, now: Date.now })
  try {
    scraped = await serveMetrics(config, { metrics, readiness, log })
    await listen(app, config)
    const url = localUrl(app)
    parts.hosts.add(new URL(url).host)
    const { catalog } = parts
    const bootstrapped = await bootstrapAlone(config, parts, { url, log, stopping })
    // In a database, they are those of others, too.
    if (!config.catalog) await parts.jobs.releaseAllLeases()
    await parts.library.start()
    if (roles.has('servers')) {
      home = await holdServersHere(config, parts, log)
      await parts.servers.begin()
    }
    if (roles.has('sftp')) sftp = await serveSftp(config, parts, { log, observer: observer.sftp })
    nbd = await serveNbd(config, parts, log)
    if (roles.has('worker')) upkeep = startUpkeep(config, parts, { log, observer: observer.check })
    erasing = setInterval(() => void erase(catalog, log), ERASE_MS).unref()
    state.isReady = true
    onStarted({
      url,
      sftp: sftp && { url: sftpUrl(sftp), fingerprint: sftp.fingerprint },
      nbd: nbd && nbdUrl(nbd, config.nbd?.tls !== undefined),
      metrics: scraped?.url,
      bootstrapped,
    })
    if (!stopping.aborted) await new Promise((resolve) => stopping.addEventListener('abort', resolve))
    log.info('stopping')
    // Others can take them at once; they do not wait for requests here to end.
    giving = parts.jobs[Symbol.asyncDispose]()
    await delay(config.http.noticeMs)
  } catch (error) {
    // To stop while another process begins the library is no failure.
    if (!stopping.aborted || error !== stopping.reason) throw error
  } finally {
    clearInterval(erasing)
    await Promise.all([
      giving,
      drain(app, config.http.drainMs),
      sftp?.stop(config.http.drainMs),
      nbd?.[Symbol.asyncDispose](),
      upkeep?.[Symbol.asyncDispose](),
    ])
    await scraped?.[Symbol.asyncDispose]()
    await parts.servers[Symbol.asyncDispose]()
    await home?.[Symbol.asyncDispose]()
  }
}

const holdServersHere = ({ data, catalog }: Config, parts: Parts, log: Logger): Promise<AsyncDisposable> =>
  holdServers({
    catalog: parts.catalog,
    folder: join(data, 'servers'),
    isShared: catalog !== undefined,
    now: Date.now,
    log,
    onLost: () => void parts.servers[Symbol.asyncDispose](),
  })

/** Once it is about to stop, connections that are kept alive end with the answer under way. */
function closeWhenStopping(app: App, stopping: AbortSignal): void {
  app.server.prependListener('request', (_request, response: ServerResponse) => {
    if (stopping.aborted) response.setHeader('connection', 'close')
  })
}

const BOOTSTRAP_LEASE_MS = 30_000

/**
 * Makes what a new library begins with; of several processes that start at once on one catalog, one does.
 * @throws what keeps it from that; unavailable where another process is at it for too long
 */
async function bootstrapAlone(
  { data, http }: Config,
  { auth, catalog, holder }: Parts,
  { url, log, stopping }: { readonly url: string; readonly log: Logger; readonly stopping: AbortSignal },
): Promise<Bootstrapped | undefined> {
  const apiUrl = http.publicUrl ?? url
  const options = {
    ...{ catalog, holder, now: Date.now, log },
    leaseMs: BOOTSTRAP_LEASE_MS,
    // One that died with the lease is outlasted.
    waitMs: 2 * BOOTSTRAP_LEASE_MS,
  }
  const done = await tryAlone(
    'bootstrap',
    () => bootstrap({ auth, catalog, data, apiUrl }),
    options,
    stopping,
  )
  if (done) return done.result
  throw new LibraryError('unavailable', 'begin a library: another process has not come to the end of that', {
    hint: 'Start this one again once the other has started.',
  })
}

/** URLs of registrations that have ended carry secrets. */
async function erase(catalog: Catalog, log: Logger): Promise<void> {
  try {
    await catalog.erase()
  } catch (error) {
    log.warn({ err: error }, 'cannot erase what was deleted from the catalog')
  }
}

async function listen(app: App, { http: { host, port } }: Config): Promise<void> {
  try {
    await app.listen({ host, port })
  } catch (cause) {
    throw listenError(cause, '--http', host, port)
  }
}

/** How programs on this machine reach us, also where we listen on every address. */
function localUrl(app: App): string {
  const { address, port } = app.server.address() as AddressInfo
  return `http://${reachable(address)}:${port}`
}

const nbdUrl = ({ host, port }: NbdService, hasTls: boolean): string =>
  `nbd${hasTls ? 's' : ''}://${reachable(host)}:${port}`
const sftpUrl = ({ host, port }: SftpService): string => `sftp://${reachable(host)}:${port}`

/** Lets requests under way end, for a while. */
async function drain(app: App, drainMs: number): Promise<void> {
  const timer = setTimeout(() => app.server.closeAllConnections(), drainMs)
  try {
    await app.close()
  } finally {
    clearTimeout(timer)
  }
}
