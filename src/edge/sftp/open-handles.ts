import type { ShownAttributes } from './attributes.ts'
import type { DirectoryEntry } from './directory.ts'
import type { Located } from './files.ts'
import type { Place } from './paths.ts'
import type { ReadHandle } from './read-handle.ts'
import { failure } from './sftp-failure.ts'
import type { StagedFile } from './staged-file.ts'

export type Handle =
  | {
      readonly kind: 'read'
      readonly place: Place
      readonly located: Located
      readonly reader: ReadHandle
      readonly attributes: ShownAttributes
    }
  | {
      readonly kind: 'stage'
      readonly place: Place
      readonly stage: StagedFile
      readonly isWritable: boolean
    }
  | {
      readonly kind: 'directory'
      readonly place: Place
      readonly pages: AsyncIterator<readonly DirectoryEntry[]>
      /** Of the page at hand. */
      rest: readonly DirectoryEntry[]
    }

/** How many handles all channels of a connection may have together, and have. */
export interface HandleCount {
  readonly max: number
  open: number
}

/** What a client knows by a number that we gave it. */
export class OpenHandles {
  readonly #handles = new Map<number, Handle>()
  readonly #count: HandleCount
  #last = 0

  constructor(count: HandleCount) {
    this.#count = count
  }

  get count(): number {
    return this.#handles.size
  }

  /** To be asked before a handle is made. */
  demandRoom(): void {
    if (this.#count.open >= this.#count.max) throw failure('too many open files')
  }

  add(handle: Handle): Buffer {
    this.#last = (this.#last + 1) >>> 0
    this.#handles.set(this.#last, handle)
    this.#count.open++
    const name = Buffer.allocUnsafe(4)
    name.writeUInt32BE(this.#last, 0)
    return name
  }

  get(name: Buffer): Handle {
    const handle = name.length === 4 ? this.#handles.get(name.readUInt32BE(0)) : undefined
    if (!handle) throw failure('no such handle')
    return handle
  }

  take(name: Buffer): Handle {
    const handle = this.get(name)
    this.#handles.delete(name.readUInt32BE(0))
    this.#count.open--
    return handle
  }

  takeAll(): Handle[] {
    const all = [...this.#handles.values()]
    this.#handles.clear()
    this.#count.open -= all.length
    return all
  }
}
