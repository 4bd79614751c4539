import { randomUUID } from 'node:crypto'
import { assert, LibraryError } from '#base/errors.ts'
import type { Digest, Generation, RemovedFile, RemovedFiles, StoredFile } from '../store.ts'
import type { S3Generations } from './generations.ts'
import { listDigests } from './list-digests.ts'
import type { S3Objects } from './objects.ts'

const DIGEST = /^[0-9a-f]{64}$/
const REMOVED = /^([0-9a-f]{64})\.(\d{1,15})-[0-9a-f-]{36}$/
/** A removal that takes longer, because its process was stopped in the middle, is given up. */
const REMOVAL_MS = 10 * 60_000
/** After which no request of a removal is on its way any more, however a network or a server delayed it. */
const SETTLED_MS = 3600_000
/** A marker has one byte: some servers and proxies treat empty objects in ways of their own. */
const MARK = Uint8Array.of(1)

export interface S3FilesOptions {
  readonly objects: S3Objects
  readonly kind: 'blocks' | 'manifests'
  readonly generations: S3Generations
  /** For tests: in the place of SETTLED_MS. */
  readonly settledMs?: number | undefined
}

/**
 * Immutable objects named by digest. One that is removed is moved aside, where readers still find it, and is deleted
 * for good only once nobody can have counted on it (docs/decisions/0040-removal-in-two-steps-on-s3.md).
 */
export class S3Files {
  readonly #objects: S3Objects
  readonly #kind: S3FilesOptions['kind']
  readonly #generations: S3Generations
  readonly #settledMs: number

  constructor({ objects, kind, generations, settledMs = SETTLED_MS }: S3FilesOptions) {
    this.#objects = objects
    this.#kind = kind
    this.#generations = generations
    this.#settledMs = settledMs
  }

  keyOf(digest: Digest): string {
    return this.#key('', digest)
  }

  #key(folder: '' | 'claims/' | 'removed/' | 'quarantine/', digest: Digest): string {
    assert(DIGEST.test(digest), 'a digest has 64 hex digits')
    return `${folder}${this.#kind}/${digest.slice(0, 2)}/${digest}`
  }

  /** A name that nothing else has, and that says in which generation it was made. */
  async #freshKey(folder: 'removed/' | 'quarantine/', digest: Digest): Promise<string> {
    return `${this.#key(folder, digest)}.${await this.#generations.present()}-${randomUUID()}`
  }

  async claim(digest: Digest): Promise<number | undefined> {
    const found = await this.#objects.head(this.keyOf(digest))
    if (!found) return undefined
    const generation = await this.#generations.mark()
    // Not by touching the object: that would be a copy onto itself, which could undo what mends it meanwhile.
    if (found.generation < generation) await this.#objects.put(this.#key('claims/', digest), MARK, generation)
    return found.size
  }

  async sizeOf(digest: Digest): Promise<number | undefined> {
    return (await this.find(digest, (key) => this.#objects.head(key)))?.size
  }

  /**
   * Reads what is there, also where it was moved aside.
   * @param read gives undefined where there is no object of this key
   */
  async find<T>(digest: Digest, read: (key: string) => Promise<T | undefined>): Promise<T | undefined> {
    const found = await read(this.keyOf(digest))
    if (found !== undefined) return found
    for (const key of await this.#removedKeys(digest)) {
      const aside = await read(key)
      if (aside !== undefined) return aside
    }
    // It may have been put back between the two looks.
    return read(this.keyOf(digest))
  }

  async #removedKeys(digest: Digest): Promise<string[]> {
    const found = await Array.fromAsync(this.#objects.list(`${this.#key('removed/', digest)}.`))
    return found.map(({ key }) => key)
  }

  /** @param put puts all of it under a key; what was moved aside has the same bytes afterwards */
  async mend(digest: Digest, put: (key: string) => Promise<void>): Promise<void> {
    const key = this.keyOf(digest)
    await put(key)
    // A removal that began before may still delete what was put, and leave but the damaged one.
    for (const aside of await this.#removedKeys(digest))
      if (!(await this.#objects.copy(key, aside))) await put(aside)
  }

  async remove(digest: Digest, unclaimedSince: Generation): Promise<boolean> {
    const key = this.keyOf(digest)
    if (!(await this.#isUnclaimed(digest, unclaimedSince))) return false
    const startedAt = performance.now()
    const aside = await this.#freshKey('removed/', digest)
    if (!(await this.#objects.copy(key, aside))) return false
    // Once more: what was put before now may be newer than the copy.
    if (!(await this.#isUnclaimed(digest, unclaimedSince)) || performance.now() - startedAt > REMOVAL_MS) {
      await this.#objects.delete(aside)
      return false
    }
    await this.#objects.delete(key)
    return true
  }

  async #isUnclaimed(digest: Digest, since: Generation): Promise<boolean> {
    const [found, claimed] = await Promise.all([
      this.#objects.head(this.keyOf(digest)),
      this.#objects.head(this.#key('claims/', digest)),
    ])
    return found !== undefined && found.generation < since && (claimed?.generation ?? 0) < since
  }

  list(after?: Digest): AsyncGenerator<StoredFile> {
    return listDigests((digits, after) => this.#listShard(digits, after), after)
  }

  async *#listShard(digits: string, after: Digest | undefined): AsyncGenerator<StoredFile> {
    const within = `${this.#kind}/`
    const folder = digits === '' ? '' : `${digits.slice(0, 2)}/${digits}`
    for await (const object of this.#objects.list(within + folder, after && this.keyOf(after))) {
      const digest = object.key.slice(within.length + 3)
      if (!DIGEST.test(digest)) continue
      yield { digest, size: object.size, claimedIn: undefined }
    }
  }

  /** Those that were moved aside. */
  get removed(): RemovedFiles {
    return {
      list: () => this.#listRemoved(),
      putBack: async ({ digest, name }) => {
        if (!(await this.#objects.head(this.keyOf(digest))))
          await this.#objects.copy(name, this.keyOf(digest))
      },
      purge: async ({ digest, name }) => {
        const isThere = await this.#objects.head(this.keyOf(digest))
        await Promise.all([
          this.#objects.delete(name),
          isThere ? undefined : this.#objects.delete(this.#key('claims/', digest)),
        ])
      },
    }
  }

  async *#listRemoved(): AsyncGenerator<RemovedFile> {
    const within = `removed/${this.#kind}/`
    for await (const { key, size, ageMs } of this.#objects.list(within)) {
      const [, digest, generation] = REMOVED.exec(key.slice(within.length + 3)) ?? []
      if (digest === undefined) continue
      yield {
        digest,
        size,
        removedIn: Number(generation),
        isSettled: ageMs >= this.#settledMs,
        name: key,
      }
    }
  }

  async quarantine(digest: Digest): Promise<void> {
    for (const key of [this.keyOf(digest), ...(await this.#removedKeys(digest))])
      if (await this.#objects.copy(key, await this.#freshKey('quarantine/', digest)))
        await this.#objects.delete(key)
  }

  /** @throws not_found where one of them is gone */
  async demand(digests: readonly Digest[]): Promise<void> {
    await Promise.all(
      digests.map(async (digest) => {
        if ((await this.sizeOf(digest)) === undefined) throw this.missing('sync', digest)
      }),
    )
  }

  missing(word: string, digest: Digest): LibraryError {
    return new LibraryError('not_found', `${word} ${this.#kind.slice(0, -1)} ${digest}`)
  }
}
