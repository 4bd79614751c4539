import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import { Ledger } from '#base/ledger.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { openCatalog } from '#control/catalog/catalog.ts'
import { createJobQueue } from '#control/jobs/queue.ts'
import type { Ingest, IngestProgress, IngestRequest, IngestResult } from '#data/disk/ingest-types.ts'
import type { Image } from '#model/image.ts'
import type { Server } from '#model/server.ts'
import type { Session } from '#model/session.ts'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import { MemoryContents } from '../../../test/support/memory-contents.ts'
import { createLibrary } from './create-library.ts'
import type { LibraryOptions } from './deps.ts'
import type { RegisterAttributes, SnapshotOf } from './library.ts'
import { createUploadSeats } from './upload-seats.ts'

export const URL_TEXT = 'http://example.test/images/debian-12.qcow2?signature=secret'
export const REGISTER: RegisterAttributes = { httpUrl: URL_TEXT, arch: 'x86_64' }

/** One call of the ingest function, which goes on as the test says. */
export interface IngestCall {
  readonly request: IngestRequest
  readonly signal: AbortSignal
  admit(bytes: number | undefined): Promise<void>
  progress(progress: Partial<IngestProgress>): void
  succeed(result?: Partial<IngestResult>): void
  fail(error: unknown): void
}

const PROGRESS: IngestProgress = {
  phase: 'receiving',
  received: 0,
  total: undefined,
  rate: 0,
  decoded: 0,
  virtualSize: undefined,
  dataSize: 0,
}

export function resultOf(request: IngestRequest, change: Partial<IngestResult> = {}): IngestResult {
  const url = request.source.kind === 'http' ? request.source.url : undefined
  return {
    manifest: 'ab'.repeat(32),
    virtualSize: 4096,
    dataSize: 1024,
    addedSize: 512,
    formatChain: 'xz+raw',
    notes: [],
    source: {
      url,
      finalUrl: url,
      bytes: 700,
      sha256: 'cd'.repeat(32),
      etag: undefined,
      lastModified: undefined,
    },
    ...change,
  }
}

/** An ingest whose calls the test answers one by one. */
export class ScriptedIngest {
  readonly calls: IngestCall[] = []
  #arrived = Promise.withResolvers<void>()

  readonly ingest: Ingest = (request, { onProgress, admit, signal }) => {
    const { promise, resolve, reject } = Promise.withResolvers<IngestResult>()
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    this.calls.push({
      request,
      signal,
      admit: async (bytes) => await admit?.(bytes).catch(reject),
      progress: (progress) => onProgress({ ...PROGRESS, ...progress }),
      succeed: (result) => resolve(resultOf(request, result)),
      fail: reject,
    })
    const arrived = this.#arrived
    this.#arrived = Promise.withResolvers()
    arrived.resolve()
    return promise
  }

  /** The nth call, as soon as it is made. */
  async call(index: number): Promise<IngestCall> {
    for (;;) {
      const call = this.calls[index]
      if (call) return call
      await this.#arrived.promise
    }
  }
}

/** `elapsed` is what nobody sets; without it the clock is never set either. */
export interface Clock {
  at: number
  elapsed?: number
}

export interface LibraryFixture extends AsyncDisposable {
  readonly clock: Clock
  readonly scripted: ScriptedIngest
  readonly options: LibraryOptions
  readonly library: ReturnType<typeof createLibrary>
  /** Where uploads go. */
  readonly contents: MemoryContents
  readonly owner: Session
  readonly other: Session
  /** What runs ends, then what may run begins. */
  step(): Promise<void>
}

/** A library on an empty catalog of its own or at `path`, with two accounts and a clock that stands still. */
export async function openLibrary(
  change: Partial<LibraryOptions> = {},
  path?: string,
): Promise<LibraryFixture> {
  const clock: Clock = { at: Date.UTC(2026, 0, 2, 3, 4) }
  const folder = await mkdtemp(join(tmpdir(), 'library-'))
  const catalog = await (path === undefined ? openTestCatalog() : openCatalog({ path }))
  const log = { info: () => {}, warn: () => {}, error: () => {} }
  const now = () => clock.at
  let generation = 1
  const generations = { generation: async () => generation, nextGeneration: async () => ++generation }
  const jobs = createJobQueue({
    catalog,
    owner: `test-${randomBytes(4).toString('hex')}`,
    now,
    elapsed: () => clock.elapsed ?? clock.at,
    generations,
    random: randomBytes,
    log,
  })
  const scripted = new ScriptedIngest()
  const promised = new Ledger()
  const contents = new MemoryContents()
  const options: LibraryOptions = {
    catalog,
    jobs,
    ingest: scripted.ingest,
    parseSourceUrl: (text) => {
      if (!URL.canParse(text)) throw new LibraryError('invalid', 'source URL cannot be read')
      return new URL(text)
    },
    redactUrl: (url) => `${url.origin}${url.pathname}`,
    findObject: async () => undefined,
    joinParts: async () => undefined,
    openEditor: (base, options) => contents.openEditor(base, options),
    seats: createUploadSeats(512),
    limits: DEFAULT_LIMITS,
    allowSource: [],
    registrations: { concurrency: 2, perAccount: 2 },
    uploadsPerAccount: 8,
    quota: undefined,
    uploadFolder: join(folder, 'uploads'),
    reserve: { demand: () => {}, promise: (bytes) => promised.take(['disk'], bytes) },
    promised,
    generations,
    wait: async () => {},
    holder: 'test',
    now,
    log,
    ...change,
  }
  const library = createLibrary(options)
  const sessionOf = async (name: string): Promise<Session> => {
    const { id: accountId } = await catalog.accounts.insert({ name, status: 'active', createdAt: now() })
    return {
      accountId,
      clientId: `cli-${name}`,
      userId: null,
      permissions: 'full',
      scopes: ['infrastructure', 'orbit'],
    }
  }
  return {
    clock,
    scripted,
    options,
    library,
    contents,
    owner: await sessionOf('owner'),
    other: await sessionOf('other'),
    async step() {
      await jobs.settled()
      await jobs.poll()
    },
    async [Symbol.asyncDispose]() {
      await jobs[Symbol.asyncDispose]()
      await library[Symbol.asyncDispose]()
      await catalog[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    },
  }
}

/** Registers an image and lets it become available. */
export async function registerAvailable(
  fixture: LibraryFixture,
  attributes: Partial<RegisterAttributes> = {},
) {
  const { library, owner, scripted, options } = fixture
  const index = scripted.calls.length
  const { id } = await library.register(owner, { ...REGISTER, ...attributes })
  ;(await scripted.call(index)).succeed()
  await options.jobs.settled()
  return library.show(owner, id)
}

/** A running server of the owner's, with a volume of which nothing is filled. */
export async function addServer({ options: { catalog, now }, owner }: LibraryFixture, image: Image) {
  const at = now()
  const whose = {
    accountId: owner.accountId,
    imageId: image.id,
    createdAt: at,
    updatedAt: at,
    deletedAt: null,
  }
  const server = await catalog.servers.insert({
    ...whose,
    name: 'web',
    status: 'active',
    goal: 'running',
    locked: false,
    typeId: 'typ-w0hf9',
    cores: 1,
    ram: 1024,
    zoneId: 'zon-gb1aa',
    compatibilityMode: false,
    userData: null,
    macAddress: '02:24:19:00:00:01',
    sshPort: null,
    accelerator: 'tcg',
    trouble: null,
    console: null,
    startedAt: at,
  })
  const volume = await catalog.volumes.insert({
    ...whose,
    serverId: server.id,
    name: null,
    status: 'attached',
    size: 40 * 2 ** 30,
    manifest: image.manifest ?? '',
    imageSize: image.virtualSize,
    filled: 0,
    standsAlone: false,
    layers: ['layer-0.qcow2'],
  })
  return { server, volume }
}

export const snapshotOf = (
  server: Server,
  ancestor: Image,
  { clientId, userId }: Session,
  change: Partial<SnapshotOf> = {},
): SnapshotOf => ({
  serverId: server.id,
  accountId: server.accountId,
  actor: { clientId, userId },
  name: 'Snapshot of web',
  description: 'a text',
  trigger: 'manual',
  ancestor,
  compatibilityMode: true,
  size: 40 * 2 ** 30,
  manifest: ancestor.manifest ?? undefined,
  folder: '/servers/srv',
  baseFile: 'base.raw',
  layers: ['layer-0.qcow2', 'layer-1.qcow2'],
  dataLimit: 5000,
  ...change,
})
