import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import type { Catalog } from '#control/catalog/catalog.ts'
import { type LibraryFixture, openLibrary, registerAvailable } from '#control/library/library.fixtures.ts'
import { createServers } from './create-servers.ts'
import type { ServersOptions, Timer } from './deps.ts'
import { FakeHost } from './fake-host.fixtures.ts'
import type { Servers } from './servers.ts'

const MIB = 1024 * 1024
/** A test that waits longer for something that happens by itself has found something that does not. */
const UNTIL_MS = 20_000

/** Timers that run when the test says so. */
export class FakeTimers {
  #waiting = new Set<() => void>()

  readonly timer: Timer = (_delayMs, task) => {
    const entry = () => task()
    this.#waiting.add(entry)
    return () => this.#waiting.delete(entry)
  }

  /** All that waits comes to be due. */
  fire(): void {
    const due = [...this.#waiting]
    this.#waiting.clear()
    for (const task of due) task()
  }
}

export const SETTINGS: ServersOptions['settings'] = {
  network: { kind: 'user', isolated: false },
  sshAddress: '127.0.0.1',
  sshPorts: { first: 2200, last: 2299 },
  firstUid: undefined,
  perAccount: { servers: undefined, ram: undefined, disk: undefined },
  ram: undefined,
  snapshotSize: 1024 * MIB,
}

export interface ServersFixture extends AsyncDisposable {
  readonly library: LibraryFixture
  readonly catalog: Catalog
  readonly host: FakeHost
  readonly folder: string
  /** The servers of the daemon that runs now. */
  readonly servers: Servers
  readonly imageId: string
  /** Another daemon takes over, after this one died where it stood; it may die as it begins. */
  restart(): Promise<void>
  /** Time passes until this is so. */
  until(condition: () => Promise<boolean> | boolean): Promise<void>
  /** Of a server that exists, read through the layers that the catalog lists. */
  diskOf(serverId: string): Promise<string[]>
  statusOf(serverId: string): Promise<string | undefined>
  events(serverId: string): Promise<string[]>
  /** Names in the folder of servers, with those in `bases`. */
  leftovers(): Promise<string[]>
}

/** Servers on fakes, with an image to build them from and a daemon that can die. @param catalogOf what daemons see */
export async function openServers(
  settings: Partial<ServersOptions['settings']> = {},
  catalogOf: (catalog: Catalog) => Catalog = (catalog) => catalog,
): Promise<ServersFixture> {
  const folder = await mkdtemp(join(tmpdir(), 'servers-'))
  let timers = new FakeTimers()
  let servers: Servers | undefined
  const library = await openLibrary({ onVolumeRead: (id) => servers?.volumeRead(id) })
  const { catalog, now, log } = library.options
  const { id: imageId } = await registerAvailable(library)
  const host = new FakeHost()

  const open = async (): Promise<Servers> => {
    const daemon = host.newDaemon()
    // Those of a dead one never run.
    timers = new FakeTimers()
    const opened = createServers({
      catalog: daemon.guard(catalogOf(catalog)),
      library: library.library,
      hypervisor: daemon.hypervisor,
      createLayer: daemon.createLayer,
      fillBase: daemon.fillBase,
      offer: daemon.offer,
      folder,
      settings: { ...SETTINGS, ...settings },
      now,
      random: randomBytes,
      log,
      timer: timers.timer,
    })
    await opened.begin()
    return opened
  }
  servers = await open()

  const fixture: ServersFixture = {
    library,
    catalog,
    host,
    folder,
    imageId,
    get servers() {
      if (!servers) throw new Error('no daemon runs')
      return servers
    },
    async restart() {
      host.killDaemon()
      const opening = open().then((opened) => {
        servers = opened
      })
      await Promise.race([opening, host.death])
    },
    async until(condition) {
      const end = performance.now() + UNTIL_MS
      const mine = timers
      while (!(await condition())) {
        // Whoever waits for a daemon that died since waits for nothing.
        if (mine !== timers) await new Promise(() => {})
        if (performance.now() > end) throw new Error(`waited in vain for ${condition}`)
        timers.fire()
        await turn()
      }
    },
    async diskOf(serverId) {
      const [volume] = await catalog.volumes.ofServers([serverId])
      const texts = (volume?.layers ?? []).map((name) => readFile(join(folder, serverId, name), 'utf8'))
      const words = (await Promise.all(texts)).flatMap((text) => text.split('\n').filter(Boolean))
      return [...new Set(words)].sort()
    },
    statusOf: async (id) => (await catalog.servers.find(id))?.status,
    async events(id) {
      const events = await library.library.events(library.owner, id)
      return events.map(({ action }) => action.replace('server.', ''))
    },
    async leftovers() {
      return (await readdir(folder, { recursive: true })).filter((name) => name !== 'bases').sort()
    },
    async [Symbol.asyncDispose]() {
      await servers?.[Symbol.asyncDispose]()
      host.end()
      await library[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    },
  }
  return fixture
}

/** A server of the fixture's image that runs. */
export async function buildRunning(fixture: ServersFixture, name = 'one'): Promise<string> {
  const { server } = await fixture.servers.create(fixture.library.owner, { image: fixture.imageId, name })
  await fixture.until(async () => (await fixture.statusOf(server.id)) === 'active')
  return server.id
}
