import assert from 'node:assert/strict'
import { fstatSync, lstatSync, readdirSync, readFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

type Sync = FileHandle['sync']

/**
 * Remembers what this process brought to stable storage: of each file the bytes that it had then, of each folder the
 * names. What a power cut now would leave is that, and of all else nobody knows.
 */
export class SyncedFiles implements Disposable {
  /** By device and inode. */
  readonly #safe = new Map<string, string>()
  readonly #handles: { sync: Sync; datasync: Sync }
  readonly #originals: { readonly sync: Sync; readonly datasync: Sync }

  private constructor(handles: { sync: Sync; datasync: Sync }) {
    this.#handles = handles
    this.#originals = { sync: handles.sync, datasync: handles.datasync }
    const remember = (fd: number) => this.#safe.set(keyOf(fstatSync(fd)), contentOf(`/proc/self/fd/${fd}`))
    for (const name of ['sync', 'datasync'] as const) {
      const original = this.#originals[name]
      handles[name] = async function (this: FileHandle) {
        await original.call(this)
        remember(this.fd)
      }
    }
  }

  /** Watches the handles of `node:fs/promises` until it is disposed of. */
  static async watch(): Promise<SyncedFiles> {
    await using handle = await open('/', 'r')
    return new SyncedFiles(Object.getPrototypeOf(handle))
  }

  /** Whether a file was ever brought there, as it was then. */
  has(path: string): boolean {
    return this.#safe.has(keyOf(lstatSync(path)))
  }

  /** Fails where a power cut could take anything at or below a path, or its name. */
  assertSafe(path: string): void {
    const names = this.#safe.get(keyOf(lstatSync(dirname(path))))
    assert.deepEqual(
      [...(names?.split('/').includes(basename(path)) ? [] : [`the name of ${path}`]), ...this.#unsafe(path)],
      [],
    )
  }

  #unsafe(path: string): string[] {
    const found = lstatSync(path)
    const below = found.isDirectory()
      ? readdirSync(path).flatMap((name) => this.#unsafe(join(path, name)))
      : []
    if (this.#safe.get(keyOf(found)) === contentOf(path)) return below
    // An empty folder is as it was made.
    if (found.isDirectory() && readdirSync(path).length === 0) return below
    return [`${found.isDirectory() ? 'names in' : 'bytes of'} ${path}`, ...below]
  }

  [Symbol.dispose](): void {
    Object.assign(this.#handles, this.#originals)
  }
}

const keyOf = ({ dev, ino }: { dev: number; ino: number }) => `${dev}:${ino}`

/** Names, or bytes. */
function contentOf(path: string): string {
  try {
    return readdirSync(path).sort().join('/')
  } catch {
    return readFileSync(path, 'latin1')
  }
}
