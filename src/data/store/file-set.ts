import { randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import type * as fs from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { assert, LibraryError } from '#base/errors.ts'
import { syncFolder } from '#base/sync-folder.ts'
import { generationOf, mark } from './generation.ts'
import { attempting, storageError, systemCode, unlessMissing } from './storage-errors.ts'
import type { Digest, Generation, StoredFile } from './store.ts'

/** The calls that a file system store makes; tests hand in their own to order them and to let them fail. */
export type FileOperations = Pick<
  typeof fs,
  'link' | 'mkdir' | 'open' | 'readdir' | 'rename' | 'stat' | 'unlink'
>

export interface FileSetOptions {
  /** The store's folder; `temporary`, `removing` and `quarantine` stand in it. */
  readonly directory: string
  readonly kind: 'blocks' | 'manifests'
  /** What the names of its temporary files begin with. */
  readonly writer: string
  readonly files: FileOperations
  /** What files that are put or claimed now are marked with. */
  readonly generation: () => Promise<Generation>
  /** Says whether a file that was found is one that was wholly written; a power cut can leave others. */
  readonly isWhole: (handle: fs.FileHandle, size: number) => Promise<boolean>
}

const DIGEST = /^[0-9a-f]{64}$/
/** A put that meets a file that vanishes again and again is not a race any more. */
const PUT_ATTEMPTS = 20
/** Between two looks a removal that loses may move a file away and put it back; each removal does so once. */
const OPEN_ATTEMPTS = 5

/**
 * Immutable files named by digest, for several threads and processes at once. A file appears by `link`, which never
 * replaces one that is there, and goes by a rename into `removing` and a second look at its time; so a claim and a
 * removal that meet always agree (docs/decisions/0005-collection-by-touch-and-rename.md).
 */
export class FileSet {
  readonly #options: FileSetOptions
  readonly #files: FileOperations

  constructor(options: FileSetOptions) {
    this.#options = options
    this.#files = options.files
  }

  get folder(): string {
    return join(this.#options.directory, this.#options.kind)
  }

  #pathOf(digest: Digest): string {
    assert(DIGEST.test(digest), 'a digest has 64 hex digits')
    return join(this.folder, digest.slice(0, 2), digest)
  }

  #nameOf(digest: Digest): string {
    return `${this.#options.kind}-${digest}`
  }

  #attempt(word: string, digest: Digest): string {
    return `${word} ${this.#nameOf(digest)}`
  }

  async claim(digest: Digest): Promise<number | undefined> {
    return attempting(this.#attempt('claim', digest), async () => {
      const path = this.#pathOf(digest)
      const handle = await unlessMissing(this.#files.open(path, 'r'))
      if (!handle) return undefined
      let size: number
      try {
        const found = await handle.stat()
        size = found.size
        if (!found.isFile() || !(await this.#options.isWhole(handle, size))) {
          await this.#moveAside(digest, found)
          return undefined
        }
        await this.#mark(handle)
      } finally {
        await handle.close()
      }
      // The mark may have met a removal that had looked already. Then the file is gone from here by now.
      return (await unlessMissing(this.#files.stat(path))) ? size : undefined
    })
  }

  async sizeOf(digest: Digest): Promise<number | undefined> {
    return attempting(this.#attempt('look at', digest), async () => {
      return (await unlessMissing(this.#files.stat(this.#pathOf(digest))))?.size
    })
  }

  /** Read each time: a collection that began since goes by what it finds in the catalog, and that was there before. */
  async #mark(handle: fs.FileHandle): Promise<void> {
    await mark(handle, await this.#options.generation())
  }

  /** @param write writes the whole file */
  put(digest: Digest, write: (handle: fs.FileHandle) => Promise<void>): Promise<void> {
    return this.#write('put', digest, write, (temporary) => this.#appear(temporary, digest))
  }

  /**
   * Puts a file in the place of one that is damaged, of which the quarantine keeps what can be kept. The rename leaves
   * no moment without a file, for those who claim it meanwhile.
   */
  mend(digest: Digest, write: (handle: fs.FileHandle) => Promise<void>): Promise<void> {
    const writeSafely = async (handle: fs.FileHandle) => {
      await write(handle)
      await handle.sync()
    }
    return this.#write('mend', digest, writeSafely, (temporary) => this.#replace(temporary, digest))
  }

  async #replace(temporary: string, digest: Digest): Promise<void> {
    const path = this.#pathOf(digest)
    const found = await unlessMissing(this.#files.stat(path))
    if (found && !found.isFile()) await this.#moveTo('quarantine', digest)
    else if (found) await this.#files.link(path, this.#freshPath('quarantine', digest))
    await unlessFolderMissing(
      () => this.#files.rename(temporary, path),
      () => this.#files.mkdir(dirname(path), { recursive: true }),
    )
  }

  async #write(
    word: string,
    digest: Digest,
    write: (handle: fs.FileHandle) => Promise<void>,
    place: (temporary: string) => Promise<void>,
  ): Promise<void> {
    const temporary = join(this.#options.directory, 'temporary', `${this.#options.writer}${randomUUID()}`)
    await attempting(this.#attempt(word, digest), async () => {
      try {
        const handle = await this.#files.open(temporary, 'wx', 0o640)
        try {
          await write(handle)
          await this.#mark(handle)
        } finally {
          await handle.close()
        }
        await place(temporary)
      } finally {
        await unlessMissing(this.#files.unlink(temporary))
      }
    })
  }

  async #appear(temporary: string, digest: Digest): Promise<void> {
    for (let attempt = 0; attempt < PUT_ATTEMPTS; attempt++) {
      if (await this.#link(temporary, this.#pathOf(digest))) return
      // Replacing what is there, and safe, by bytes that are not yet would lose both in a power cut.
      if ((await this.claim(digest)) !== undefined) return
    }
    throw new LibraryError('unavailable', `${this.#attempt('put', digest)}: the file comes and goes`)
  }

  /** @returns false where the name is taken */
  async #link(from: string, to: string): Promise<boolean> {
    try {
      await unlessFolderMissing(
        () => this.#files.link(from, to),
        () => this.#files.mkdir(join(to, '..'), { recursive: true }),
      )
      return true
    } catch (error) {
      if (systemCode(error) === 'EEXIST') return false
      throw error
    }
  }

  /** @throws not_found */
  async open(digest: Digest): Promise<fs.FileHandle> {
    return attempting(this.#attempt('open', digest), async () => {
      const path = this.#pathOf(digest)
      for (let attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
        const handle =
          (await unlessMissing(this.#files.open(path, 'r'))) ?? (await this.#openRemoving(digest))
        if (handle) return handle
      }
      throw new LibraryError('not_found', this.#attempt('open', digest))
    })
  }

  async #openRemoving(digest: Digest): Promise<fs.FileHandle | undefined> {
    const folder = join(this.#options.directory, 'removing')
    for (const name of await this.#files.readdir(folder)) {
      if (!name.startsWith(`${this.#nameOf(digest)}.`)) continue
      const handle = await unlessMissing(this.#files.open(join(folder, name), 'r'))
      if (handle) return handle
    }
    return undefined
  }

  async remove(digest: Digest, unclaimedSince: Generation): Promise<boolean> {
    return attempting(this.#attempt('remove', digest), async () => {
      const before = await unlessMissing(this.#files.stat(this.#pathOf(digest)))
      if (!before || generationOf(before) >= unclaimedSince) return false
      const moved = await this.#moveTo('removing', digest)
      const after = moved && (await unlessMissing(this.#files.stat(moved)))
      if (!moved || !after) return false
      if (generationOf(after) >= unclaimedSince) {
        await this.#putBack(moved, digest)
        return false
      }
      await unlessMissing(this.#files.unlink(moved))
      return true
    })
  }

  /** A name that nothing else has. */
  #freshPath(folder: 'removing' | 'quarantine', digest: Digest): string {
    return join(this.#options.directory, folder, `${this.#nameOf(digest)}.${randomUUID()}`)
  }

  /** @returns the new path; undefined where there is no such file */
  async #moveTo(folder: 'removing' | 'quarantine', digest: Digest): Promise<string | undefined> {
    const target = this.#freshPath(folder, digest)
    return unlessMissing(this.#files.rename(this.#pathOf(digest), target).then(() => target))
  }

  /** Quarantines the very file that was found damaged, not one that has taken its place since. */
  async #moveAside(digest: Digest, damaged: Stats): Promise<void> {
    const moved = await this.#moveTo('removing', digest)
    const found = moved && (await unlessMissing(this.#files.stat(moved)))
    if (!moved || !found) return
    if (found.ino === damaged.ino) {
      const target = join(this.#options.directory, 'quarantine', basename(moved))
      await unlessMissing(this.#files.rename(moved, target))
    } else await this.#putBack(moved, digest)
  }

  async #putBack(path: string, digest: Digest): Promise<void> {
    await unlessMissing(this.#link(path, this.#pathOf(digest)))
    await unlessMissing(this.#files.unlink(path))
  }

  async quarantine(digest: Digest): Promise<void> {
    await attempting(this.#attempt('quarantine', digest), () => this.#moveTo('quarantine', digest))
  }

  /** Has these files, and then their names, written to stable storage. */
  async sync(digests: readonly Digest[]): Promise<void> {
    if (digests.length === 0) return
    await Promise.all(
      digests.map(async (digest) => {
        await using handle = await this.open(digest)
        await handle.sync()
      }),
    )
    const folders = new Set(digests.map((digest) => dirname(this.#pathOf(digest))))
    await Promise.all([...folders].map((folder) => syncFolder(folder, this.#files)))
    await syncFolder(this.folder, this.#files)
  }

  /** Puts back what a crash left in `removing`; `untouchedSince` leaves alone what another process just moved. */
  async recover(untouchedSince: number): Promise<void> {
    const folder = join(this.#options.directory, 'removing')
    for (const name of await this.#files.readdir(folder)) {
      const digest = name.slice(this.#nameOf('').length, -randomUUID().length - 1)
      if (!name.startsWith(this.#nameOf('')) || !DIGEST.test(digest)) continue
      const path = join(folder, name)
      const found = await unlessMissing(this.#files.stat(path))
      if (found && found.ctimeMs < untouchedSince) await this.#putBack(path, digest)
    }
  }

  async *list(after = ''): AsyncGenerator<StoredFile> {
    try {
      yield* this.#list(after)
    } catch (error) {
      throw storageError(`list ${this.#options.kind}`, error)
    }
  }

  async *#list(after: string): AsyncGenerator<StoredFile> {
    for (const fan of (await this.#files.readdir(this.folder)).sort()) {
      if (fan < after.slice(0, 2)) continue
      const names = await unlessMissing(this.#files.readdir(join(this.folder, fan)))
      for (const name of (names ?? []).sort()) {
        if (!DIGEST.test(name) || name <= after) continue
        const found = await unlessMissing(this.#files.stat(join(this.folder, fan, name)))
        if (found) yield { digest: name, size: found.size, claimedIn: generationOf(found) }
      }
    }
  }
}

/** Runs `call`; where its folder does not exist yet, makes that and runs it again. */
async function unlessFolderMissing(
  call: () => Promise<void>,
  makeFolder: () => Promise<unknown>,
): Promise<void> {
  try {
    await call()
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    await makeFolder()
    await call()
  }
}
