import { type Duplex, duplexPair } from 'node:stream'
import { LibraryError } from '#base/errors.ts'
import type { ConsoleKind, Servers, ShownServer } from '#control/servers/servers.ts'
import { type Image, NO_PROVENANCE } from '#model/image.ts'
import type { Server } from '#model/server.ts'
import type { Volume } from '#model/volume.ts'

const AT = Date.UTC(2026, 0, 2, 3, 4, 5)
const MiB = 1024 ** 2
export const CONSOLE_TOKEN = 'right-token'
const HOLDER = { accountId: 'acc-12345', clientId: 'cli-12345', userId: null, standing: 'good' }

export const fakeServer = (changes: Partial<Server> = {}): Server => ({
  id: 'srv-12345',
  accountId: 'acc-12345',
  name: '',
  status: 'active',
  goal: 'running',
  locked: false,
  typeId: 'typ-w0hf9',
  cores: 2,
  ram: 1024,
  zoneId: 'zon-bbbbb',
  imageId: 'img-12345',
  compatibilityMode: false,
  userData: null,
  macAddress: '02:24:19:00:00:01',
  slot: 0,
  sshPort: null,
  accelerator: 'tcg',
  trouble: null,
  console: null,
  createdAt: AT,
  startedAt: AT + 1000,
  deletedAt: null,
  updatedAt: AT + 1000,
  ...changes,
})

export const fakeVolume = (changes: Partial<Volume> = {}): Volume => ({
  id: 'vol-12345',
  accountId: 'acc-12345',
  serverId: 'srv-12345',
  imageId: 'img-12345',
  name: null,
  status: 'attached',
  size: 20_480 * MiB,
  manifest: 'ab'.repeat(32),
  imageSize: 2048 * MiB,
  filled: 1024 * MiB,
  standsAlone: false,
  layers: ['layer-0.qcow2'],
  createdAt: AT,
  updatedAt: AT,
  deletedAt: null,
  ...changes,
})

export const storedImage = (changes: Partial<Image> = {}): Image => ({
  id: 'img-12345',
  accountId: 'acc-12345',
  name: 'linux',
  arch: 'x86_64',
  status: 'available',
  description: null,
  username: 'root',
  sourceType: 'upload',
  sourceTrigger: 'manual',
  source: 'linux.img',
  minRam: null,
  public: false,
  official: false,
  compatibilityMode: false,
  locked: false,
  licenceName: null,
  ancestorId: null,
  virtualSize: 2048 * MiB,
  dataSize: 512 * MiB,
  manifest: 'ab'.repeat(32),
  provenance: NO_PROVENANCE,
  progress: null,
  failure: null,
  damagedAt: null,
  createdAt: AT,
  updatedAt: AT,
  ...changes,
})

export interface FakeServers extends Servers {
  /** What was called, with everything but the session. */
  readonly calls: unknown[][]
  /** What every call answers with; may be changed. */
  shown: ShownServer
  /** What the next call throws. */
  refusal: Error | undefined
  /** Both ends of the consoles that were attached to, in order. */
  readonly consoles: { readonly kind: ConsoleKind; readonly guest: Duplex; readonly stream: Duplex }[]
  backlog: Uint8Array
}

/** One server that stays as it is, whatever is done to it: what an edge makes of calls and answers can be seen. */
export function createFakeServers(): FakeServers {
  const call = <T>(name: string, args: unknown[], answer: () => T) => {
    fake.calls.push([name, ...args])
    const { refusal } = fake
    fake.refusal = undefined
    return refusal ? Promise.reject(refusal) : Promise.resolve(answer())
  }
  const acting = (name: string) => (_session: unknown, id: string) => call(name, [id], () => fake.shown)
  const shownVolume = () => {
    const { account, image, server, zone, volumes } = fake.shown
    return { volume: volumes[0] ?? fakeVolume(), account, image, server, zone }
  }
  const none = { used: 0, limit: undefined }
  const fake: FakeServers = {
    calls: [],
    shown: fakeShown(),
    refusal: undefined,
    consoles: [],
    backlog: new Uint8Array(),
    create: (_session, attributes) => call('create', [attributes], () => fake.shown),
    list: () => call('list', [], () => [fake.shown]),
    show: acting('show'),
    update: (_session, id, attributes) => call('update', [id, attributes], () => fake.shown),
    destroy: acting('destroy'),
    lock: acting('lock'),
    unlock: acting('unlock'),
    start: acting('start'),
    stop: acting('stop'),
    shutdown: acting('shutdown'),
    reboot: acting('reboot'),
    reset: acting('reset'),
    snapshot: (_session, id) =>
      call('snapshot', [id], () => {
        const image = fake.shown.snapshots.at(-1) ?? storedImage()
        return { shown: fake.shown, image: { ...image, ancestor: fake.shown.image } }
      }),
    activateConsole: acting('activateConsole'),
    attachConsole: (id, token, kind) =>
      call('attachConsole', [id, token, kind], () => {
        if (id !== fake.shown.server.id || token !== CONSOLE_TOKEN)
          throw new LibraryError('not_found', 'there is no such console')
        const [stream, guest] = duplexPair()
        fake.consoles.push({ kind, guest, stream })
        return {
          backlog: fake.backlog,
          stream,
          holder: { ...HOLDER, accountId: fake.shown.server.accountId },
        }
      }),
    listVolumes: () => call('listVolumes', [], () => [shownVolume()]),
    showVolume: (_session, id) => call('showVolume', [id], shownVolume),
    use: () => Promise.resolve({ servers: none, ram: none, disk: none }),
    volumeRead: () => {},
    begin: async () => {},
    [Symbol.asyncDispose]: async () => {},
  }
  return fake
}

export const fakeShown = (changes: Partial<ShownServer> = {}): ShownServer => ({
  server: fakeServer(),
  account: { id: 'acc-12345', name: 'Test', status: 'active', createdAt: AT },
  image: storedImage(),
  type: {
    id: 'typ-w0hf9',
    name: 'Small',
    handle: '1gb.ssd',
    status: 'available',
    cores: 4,
    ram: 4096,
    diskSize: 20_480,
    storageType: 'local',
  },
  zone: { id: 'zon-bbbbb', handle: 'gb1-a' },
  volumes: [fakeVolume()],
  snapshots: [],
  consoleToken: undefined,
  ...changes,
})
