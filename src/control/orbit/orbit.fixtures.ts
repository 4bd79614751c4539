import { createHash, randomBytes } from 'node:crypto'
import type { Content, Part, WrittenContent } from '#base/content.ts'
import { LibraryError } from '#base/errors.ts'
import { Ledger } from '#base/ledger.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { createUploadSeats } from '#control/library/upload-seats.ts'
import { type ContentEditor, type ContentStore, INLINE_MAX } from '#data/content/content.ts'
import { ANYBODY, type Caller } from '#model/orbit.ts'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import { createOrbit } from './create-orbit.ts'
import type { OrbitDeps } from './deps.ts'
import type { ListQuery, Orbit, PutOptions } from './orbit.ts'

export const EVERYTHING: ListQuery = { limit: 10_000 }
export const PLAIN = { headers: {}, metadata: {} }

/** A content store in memory; manifests are named by the SHA-256 of what they stand for. */
export class MemoryContents implements ContentStore {
  readonly manifests = new Map<string, Buffer>()
  /** Writers that are not disposed of. */
  open = 0

  openWriter(): ReturnType<ContentStore['openWriter']> {
    const chunks: Buffer[] = []
    const size = () => chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    this.open++
    return {
      get size() {
        return size()
      },
      write: async (chunk) => void chunks.push(Buffer.from(chunk)),
      finish: async () => this.keep(Buffer.concat(chunks)),
      [Symbol.asyncDispose]: async () => void this.open--,
    }
  }

  keep(bytes: Buffer): WrittenContent {
    const md5 = createHash('md5').update(bytes).digest('hex')
    if (bytes.length <= INLINE_MAX) return { content: { kind: 'inline', bytes }, size: bytes.length, md5 }
    const manifest = createHash('sha256').update(bytes).digest('hex')
    this.manifests.set(manifest, bytes)
    return {
      content: { kind: 'manifest', manifest, form: 'raw', size: bytes.length },
      size: bytes.length,
      md5,
    }
  }

  async openEditor(base: Content | undefined, { signal }: { signal: AbortSignal }): Promise<ContentEditor> {
    let bytes = base ? Buffer.from(this.#read(base)) : Buffer.alloc(0)
    this.open++
    const truncate = async (size: number) => {
      signal.throwIfAborted()
      const before = bytes
      bytes = Buffer.alloc(size)
      before.copy(bytes)
    }
    const finish = async () => {
      signal.throwIfAborted()
      return this.keep(bytes)
    }
    return {
      get size() {
        return bytes.length
      },
      async write(offset, chunk) {
        await truncate(Math.max(bytes.length, offset + chunk.length))
        bytes.set(chunk, offset)
      },
      read: async (offset, length) => bytes.subarray(offset, offset + length),
      truncate,
      finish,
      store: async () => (await finish()).content,
      [Symbol.asyncDispose]: async () => void this.open--,
    }
  }

  async openReader(parts: readonly Part[]): ReturnType<ContentStore['openReader']> {
    const bytes = this.#bytesOf(parts)
    return {
      size: bytes.length,
      async *read(offset, length) {
        yield bytes.subarray(offset, offset + length)
      },
      [Symbol.asyncDispose]: async () => {},
    }
  }

  /** In other forms it is a little longer. */
  async measure(manifest: string, form: 'raw' | 'lz4' | 'qcow2'): Promise<number> {
    const bytes = this.manifests.get(manifest)
    if (!bytes) throw new LibraryError('not_found', 'a manifest is gone')
    return bytes.length + { raw: 0, lz4: 7, qcow2: 100 }[form]
  }

  async join(parts: readonly Part[]) {
    const { content, size } = this.keep(this.#bytesOf(parts))
    return content.kind === 'manifest' ? { manifest: content.manifest, size } : undefined
  }

  #bytesOf(parts: readonly Part[]): Buffer {
    return Buffer.concat(
      parts.map(({ content, ...part }) => {
        if (!content || !('offset' in part)) throw new Error('a segment is gone')
        return this.#read(content).subarray(part.offset, part.offset + part.length)
      }),
    )
  }

  #read(content: Content): Uint8Array {
    if (content.kind === 'inline') return content.bytes
    const bytes = this.manifests.get(content.manifest)
    if (!bytes) throw new Error('a manifest is gone')
    return bytes
  }

  async [Symbol.asyncDispose]() {}
}

export interface OrbitFixture extends AsyncDisposable {
  /** Microseconds since 1970, of the next change. */
  readonly clock: { at: number }
  readonly catalog: Catalog
  readonly contents: MemoryContents
  readonly deps: OrbitDeps
  readonly orbit: Orbit
  /** Manifests that are pinned now, once for each time. */
  readonly pinned: string[]
  readonly owner: Caller
  readonly other: Caller
  readonly account: string
  put(name: string, bytes?: string | Buffer, options?: Partial<PutOptions>): Promise<string>
  read(name: string): Promise<string>
  names(query?: Partial<ListQuery>): Promise<string[]>
}

/** Orbit on an empty catalog in memory with two accounts; the first one has the container `c`. */
export async function openOrbit(change: Partial<OrbitDeps> = {}): Promise<OrbitFixture> {
  const catalog = change.catalog ?? (await openTestCatalog())
  const clock = { at: Date.UTC(2026, 0, 2, 3, 4) * 1000 }
  const contents = new MemoryContents()
  const pinned: string[] = []
  const deps: OrbitDeps = {
    catalog,
    contents,
    acquirePins: async (manifests) => {
      const added = [...manifests]
      pinned.push(...added)
      const release = () => added.forEach((manifest) => void pinned.splice(pinned.indexOf(manifest), 1))
      return { [Symbol.asyncDispose]: async () => release() }
    },
    keep: async () => ({ [Symbol.asyncDispose]: async () => {} }),
    now: () => (clock.at += 10),
    quota: undefined,
    seats: createUploadSeats(512),
    promised: new Ledger(),
    reserve: { promise: () => new Ledger().take([]) },
    bytesOfImages: async () => 0,
    ...change,
  }
  const orbit = createOrbit(deps)
  const owner = await addCaller(catalog)
  const other = await addCaller(catalog)
  const account = owner.session?.accountId ?? ''
  const at = (object: string) => ({ account, container: 'c', object })
  await orbit.containers.put(owner, { account, container: 'c' }, { metadata: {} })
  return {
    clock,
    catalog,
    contents,
    deps,
    orbit,
    pinned,
    owner,
    other,
    account,
    async put(name, bytes = '', options = {}) {
      const { signal } = new AbortController()
      await using upload = await orbit.objects.beginPut(owner, at(name), {
        attributes: PLAIN,
        signal,
        ...options,
      })
      await upload.write(Buffer.from(bytes))
      return (await upload.finish()).etag
    },
    async read(name) {
      await using found = await orbit.objects.locate(owner, at(name))
      await using reader = await contents.openReader(found.parts)
      const chunks = await Array.fromAsync(reader.read(0, found.info.size, new AbortController().signal))
      return Buffer.concat(chunks).toString()
    },
    async names(query = {}) {
      const { rows } = await orbit.containers.list(
        owner,
        { account, container: 'c' },
        { ...EVERYTHING, ...query },
      )
      return rows.map((row) => row.name)
    },
    [Symbol.asyncDispose]: () => catalog[Symbol.asyncDispose](),
  }
}

/** A full API client of a new account. */
export async function addCaller(catalog: Catalog): Promise<Caller> {
  const { id: accountId } = await catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
  const clientId = `cli-${randomBytes(3).toString('hex').slice(0, 5)}`
  return {
    ...ANYBODY,
    session: { accountId, clientId, userId: null, permissions: 'full', scopes: ['infrastructure', 'orbit'] },
    groups: [accountId, `${accountId}:${clientId}`],
  }
}
