import { randomBytes } from 'node:crypto'
import { Ledger } from '#base/ledger.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { createUploadSeats } from '#control/library/upload-seats.ts'
import { ANYBODY, type Caller } from '#model/orbit.ts'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import { MemoryContents } from '../../../test/support/memory-contents.ts'
import { createOrbit } from './create-orbit.ts'
import type { OrbitDeps } from './deps.ts'
import type { ListQuery, Orbit, PutOptions } from './orbit.ts'

export const EVERYTHING: ListQuery = { limit: 10_000 }
export const PLAIN = { headers: {}, metadata: {} }

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
