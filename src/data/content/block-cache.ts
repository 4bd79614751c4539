import { LibraryError } from '#base/errors.ts'
import { orAbort } from '#base/or-abort.ts'
import { type BlockLoader, loadPlain, type NamedBlock } from '#data/form/disk-blocks.ts'
import { bytesOf, type LentBytes, type Loaded, letGo } from '#data/form/pieces.ts'
import { patiently } from './patience.ts'

/** Blocks kept that nobody reads now, 1 MiB each. */
const IDLE = 32

interface Entry {
  readonly digest: string
  readonly loading: Promise<Loaded>
  /** Set once it is loaded: nobody has to wait then. */
  loaded: Loaded | undefined
  users: number
}

export interface BlockCacheOptions {
  readonly loader: BlockLoader
  /** What passes is tried again for so many milliseconds. */
  readonly patienceMs: number
  /** Blocks kept that nobody reads now, where the default is not meant. */
  readonly idle?: number
}

/**
 * Plain blocks in memory, for small reads of disks from several sides: each is loaded once for all who want it. Those
 * in use are bounded by whoever takes them.
 */
export class BlockCache implements Disposable {
  readonly #loader: BlockLoader
  readonly #patienceMs: number
  readonly #idleMax: number
  readonly #entries = new Map<string, Entry>()
  /** Those without users, least recently used first. */
  readonly #idle = new Set<Entry>()
  readonly #closed = new AbortController()
  #disks = 0

  constructor({ loader, patienceMs, idle = IDLE }: BlockCacheOptions) {
    this.#loader = loader
    this.#patienceMs = patienceMs
    this.#idleMax = idle
  }

  /** Aborted when the cache is closed. */
  get signal(): AbortSignal {
    return this.#closed.signal
  }

  /** Says that a disk is read; once none is, nothing is kept. */
  join(): Disposable {
    this.#disks++
    return {
      [Symbol.dispose]: () => {
        this.#disks--
        this.#trim()
      },
    }
  }

  /**
   * Lends a block's bytes, which nobody may write to.
   * @throws corrupt, unavailable, or the signal's reason
   */
  async take(block: NamedBlock, signal: AbortSignal): Promise<LentBytes> {
    const entry = this.#enter(block)
    entry.users++
    this.#idle.delete(entry)
    let lent = true
    const leave = () => {
      if (lent && --entry.users === 0) this.#rest(entry)
      lent = false
    }
    try {
      const bytes = bytesOf(entry.loaded ?? (await orAbort(entry.loading, signal)))
      return { bytes, [Symbol.dispose]: leave }
    } catch (error) {
      leave()
      throw error
    }
  }

  /** Begins to load a block that will be asked for. */
  bring(block: NamedBlock): void {
    const entry = this.#enter(block)
    if (entry.users === 0) this.#rest(entry)
  }

  #enter(block: NamedBlock): Entry {
    this.signal.throwIfAborted()
    const { digest } = block
    const known = this.#entries.get(digest)
    if (known) return known
    // Others may wait for the same block, so no reader's signal ends its loading.
    const { signal } = this.#closed
    const load = () => loadPlain(this.#loader, { ...block, index: 0 }, signal)
    const loading = patiently(load, this.#patienceMs, signal)
    const entry: Entry = { digest, loading, loaded: undefined, users: 0 }
    this.#entries.set(digest, entry)
    const keep = (loaded: Loaded) => {
      entry.loaded = loaded
    }
    // One that failed may be tried again.
    loading.then(keep, () => this.#forget(entry))
    return entry
  }

  #rest(entry: Entry): void {
    // One that failed is forgotten.
    if (this.#entries.get(entry.digest) !== entry) return
    this.#idle.delete(entry)
    this.#idle.add(entry)
    this.#trim()
  }

  #trim(): void {
    const most = this.signal.aborted || this.#disks === 0 ? 0 : this.#idleMax
    for (const oldest of this.#idle) {
      if (this.#idle.size <= most) break
      this.#drop(oldest)
    }
  }

  #drop(entry: Entry): void {
    this.#forget(entry)
    entry.loading.then(letGo, () => {})
  }

  #forget(entry: Entry): void {
    this.#idle.delete(entry)
    if (this.#entries.get(entry.digest) === entry) this.#entries.delete(entry.digest)
  }

  [Symbol.dispose](): void {
    this.#closed.abort(new LibraryError('unavailable', 'read a disk: the library is stopping'))
    for (const entry of this.#idle) this.#drop(entry)
  }
}
