import type { FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { FileOperations } from '#data/store/file-set.ts'

interface File {
  readonly inode: number
  bytes: Buffer
  /** What is on the disk for certain. */
  safe: Buffer
  mtimeMs: number
}

/** A change of names that happens wholly or not at all. */
type Change = ReadonlyMap<string, File | undefined>

/** Calls fail after the power was cut. */
export class PowerCut extends Error {
  readonly code = 'EPOWER'
}

/**
 * A file system in memory of which a power cut leaves what was synced, and of all else any part: names that were
 * changed since their folder was synced, each change for itself; bytes that were not synced, or zeros in their place.
 * Folders stay once they were made.
 */
export class UnsyncedFiles {
  readonly #random: () => number
  #folders = new Set<string>(['/'])
  #names = new Map<string, File>()
  #safeNames = new Map<string, File>()
  /** In the order that they were made. */
  #unsafe: Change[] = []
  #inodes = 0
  #callsLeft = Number.POSITIVE_INFINITY
  #epoch = 0

  constructor(random: () => number) {
    this.#random = random
  }

  /** The power fails at the nth call from now on. */
  cutAfter(calls: number): void {
    this.#callsLeft = calls
  }

  /** What is found after the power came back. */
  restart(): void {
    this.#epoch++
    this.#callsLeft = Number.POSITIVE_INFINITY
    const names = new Map(this.#safeNames)
    for (const change of this.#unsafe) if (this.#random() < 0.5) apply(names, change)
    this.#names = names
    for (const file of new Set(names.values())) {
      file.bytes = this.#torn(file)
      file.safe = file.bytes
    }
    this.#safeNames = new Map(names)
    this.#unsafe = []
  }

  #torn({ bytes, safe }: File): Buffer {
    if (bytes.equals(safe)) return bytes
    const drawn = this.#random()
    if (drawn < 0.25) return safe
    if (drawn < 0.5) return bytes
    if (drawn < 0.75) return bytes.subarray(0, Math.floor(this.#random() * bytes.length))
    const holed = Buffer.from(bytes)
    return holed.fill(0, Math.floor(this.#random() * bytes.length))
  }

  #step(): void {
    if (this.#callsLeft-- <= 0) throw new PowerCut('the power was cut')
  }

  #find(path: string): File {
    const file = this.#names.get(path)
    if (file) return file
    throw failure('ENOENT', path)
  }

  #change(change: Change): void {
    apply(this.#names, change)
    this.#unsafe.push(change)
  }

  #syncFolder(path: string): void {
    const isHere = (change: Change) => [...change.keys()].some((name) => dirname(name) === path)
    // What else a change names comes with it.
    for (const change of this.#unsafe.filter(isHere)) apply(this.#safeNames, change)
    this.#unsafe = this.#unsafe.filter((change) => !isHere(change))
  }

  readonly operations = {
    mkdir: async (path: string) => {
      this.#step()
      for (let at = path; at !== dirname(at); at = dirname(at)) this.#folders.add(at)
    },
    readdir: async (path: string) => {
      this.#step()
      if (!this.#folders.has(path)) throw failure('ENOENT', path)
      const below = [...this.#names.keys(), ...this.#folders].filter((name) => dirname(name) === path)
      return below.filter((name) => name !== path).map((name) => name.slice(path.length + 1))
    },
    stat: async (path: string) => {
      this.#step()
      return statOf(this.#find(path))
    },
    link: async (from: string, to: string) => {
      this.#step()
      const file = this.#find(from)
      if (!this.#folders.has(dirname(to))) throw failure('ENOENT', to)
      if (this.#names.has(to)) throw failure('EEXIST', to)
      this.#change(new Map([[to, file]]))
    },
    rename: async (from: string, to: string) => {
      this.#step()
      const file = this.#find(from)
      if (!this.#folders.has(dirname(to))) throw failure('ENOENT', to)
      this.#change(
        new Map([
          [from, undefined],
          [to, file],
        ]),
      )
    },
    unlink: async (path: string) => {
      this.#step()
      this.#find(path)
      this.#change(new Map([[path, undefined]]))
    },
    open: async (path: string, flags: string) => {
      this.#step()
      if (this.#folders.has(path)) return this.#folderHandle(path)
      if (flags.startsWith('w')) {
        if (flags === 'wx' && this.#names.has(path)) throw failure('EEXIST', path)
        const bytes = Buffer.alloc(0)
        this.#change(new Map([[path, { inode: ++this.#inodes, bytes, safe: bytes, mtimeMs: 0 }]]))
      }
      return this.#fileHandle(this.#find(path))
    },
  } as unknown as FileOperations

  #folderHandle(path: string) {
    const sync = async () => {
      this.#step()
      this.#syncFolder(path)
    }
    return { sync, close: async () => {}, [Symbol.asyncDispose]: async () => {} } as unknown as FileHandle
  }

  #fileHandle(file: File) {
    const epoch = this.#epoch
    const step = () => {
      if (epoch !== this.#epoch) throw new PowerCut('opened before the power was cut')
      this.#step()
    }
    return {
      stat: async () => {
        step()
        return statOf(file)
      },
      read: async (target: Uint8Array, offset: number, length: number, position: number) => {
        step()
        const part = file.bytes.subarray(position, position + length)
        target.set(part, offset)
        return { bytesRead: part.length, buffer: target }
      },
      write: async (source: Uint8Array, offset: number, length: number) => {
        step()
        file.bytes = Buffer.concat([file.bytes, source.subarray(offset, offset + length)])
        return { bytesWritten: length, buffer: source }
      },
      utimes: async (_accessed: number, modified: number) => {
        step()
        file.mtimeMs = modified * 1000
      },
      sync: async () => {
        step()
        file.safe = file.bytes
      },
      close: async () => {},
      [Symbol.asyncDispose]: async () => {},
    } as unknown as FileHandle
  }
}

function apply(names: Map<string, File>, change: Change): void {
  for (const [name, file] of change) {
    if (file) names.set(name, file)
    else names.delete(name)
  }
}

const statOf = ({ inode, bytes, mtimeMs }: File) => ({
  ino: inode,
  size: bytes.length,
  mtimeMs,
  ctimeMs: mtimeMs,
  isFile: () => true,
})

const failure = (code: string, path: string) => Object.assign(new Error(`${code}: ${path}`), { code })
