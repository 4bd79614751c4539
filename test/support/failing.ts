import type { FileHandle } from 'node:fs/promises'
import { LibraryError } from '#base/errors.ts'
import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import type { FileOperations } from '#data/store/file-set.ts'
import type { Store } from '#data/store/store.ts'

/** What the file system says, and what SQLite does, as it comes out of the catalog's dialect. */
export const SYSTEM_FAULTS = ['ENOSPC', 'EIO', 'EDQUOT', 'EMFILE'] as const
const CATALOG_FAULTS = [
  'another process holds its lock',
  'the disk is full',
  'the disk reports an error',
] as const

/** Counts calls of whatever is made to fail by it, and fails those that it is told to. */
export class Faults {
  /** Names of the calls since it was armed. */
  readonly calls: string[] = []
  /** Those of them that failed. */
  readonly failed: string[] = []
  #due: ReadonlySet<number> = new Set()
  #kind = 0
  #armed = false

  /** @param due calls from now on, counted from 1 @param kind a number that chooses what the error says */
  arm(due: Iterable<number>, kind = 0): void {
    this.#due = new Set(due)
    this.#kind = kind
    this.#armed = true
    this.calls.length = 0
    this.failed.length = 0
  }

  disarm(): void {
    this.#armed = false
  }

  catalog(name: string): void {
    const reason = CATALOG_FAULTS[this.#kind % CATALOG_FAULTS.length]
    if (this.isDue(name)) throw new LibraryError('unavailable', `use the catalog: ${reason}, at ${name}`)
  }

  files(name: string): void {
    if (!this.isDue(name)) return
    const code = SYSTEM_FAULTS[this.#kind % SYSTEM_FAULTS.length]
    throw Object.assign(new Error(`${code}: on cue, ${name}`), { code })
  }

  /** Counts a call. @returns whether it is to fail */
  isDue(name: string): boolean {
    if (!this.#armed) return false
    this.calls.push(name)
    const due = this.#due.has(this.calls.length)
    if (due) this.failed.push(name)
    return due
  }
}

type Call = (...args: unknown[]) => unknown

/** The thing with `before` called, with a method's name, before each of its methods. */
function guarded<T extends object>(thing: T, before: (name: string) => void): T {
  return new Proxy(thing, {
    get(target, name) {
      const value = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (typeof name === 'symbol') return value.bind(target)
      return async (...args: unknown[]) => {
        before(name)
        return (value as Call).apply(target, args)
      }
    },
  })
}

function guardTables<T extends Tables>(tables: T, faults: Faults): T {
  const names = Object.entries(tables).filter(([, table]) => typeof table === 'object')
  const tablesOf = names.map(([name, table]) => [
    name,
    guarded(table as object, (method) => faults.catalog(`${name}.${method}`)),
  ])
  return { ...tables, ...Object.fromEntries(tablesOf) }
}

/** A catalog whose calls fail on cue, each in or outside of a transaction, its begin and its commit too. */
export function failingCatalog(catalog: Catalog, faults: Faults): Catalog {
  const within =
    (kind: 'transaction' | 'relaxed' | 'snapshot') =>
    async <T>(change: (tables: Tables) => Promise<T>): Promise<T> => {
      faults.catalog(`${kind}: begin`)
      return catalog[kind](async (tables) => {
        const result = await change(guardTables(tables, faults))
        faults.catalog(`${kind}: commit`)
        return result
      })
    }
  return {
    ...guardTables(catalog, faults),
    transaction: within('transaction'),
    relaxed: within('relaxed'),
    snapshot: within('snapshot'),
  }
}

/** File operations that fail on cue, those of open files included; a file that refuses to be closed is closed. */
export function failingFiles(files: FileOperations, faults: Faults): FileOperations {
  const operations = guarded(files, (name) => faults.files(name))
  const open = async (...args: Parameters<FileOperations['open']>) => {
    faults.files('open')
    return failingHandle(await files.open(...args), faults, args[1] !== 'r')
  }
  return new Proxy(operations, {
    get: (target, name) => (name === 'open' ? open : Reflect.get(target, name)),
  })
}

/** A store whose `sync` fails on cue. */
export function failingSync(store: Store, faults: Faults): Store {
  const sync: Store['sync'] = async (only) => {
    if (faults.isDue('store.sync')) throw new LibraryError('unavailable', 'sync the store: on cue')
    return store.sync(only)
  }
  return { ...store, sync, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
}

function failingHandle(handle: FileHandle, faults: Faults, isWritten: boolean): FileHandle {
  const close = async () => {
    await handle.close()
    // No system has anything to say of what was only read.
    if (isWritten) faults.files('handle.close')
  }
  const operations = guarded(handle, (name) => faults.files(`handle.${name}`))
  return new Proxy(operations, {
    get(target, name) {
      if (name === 'close' || name === Symbol.asyncDispose) return close
      return name === 'fd' ? handle.fd : Reflect.get(target, name)
    },
  })
}
