import type { RandomBytes } from '#base/bytes.ts'

/** `sha256:` is left off inside the data plane: 64 lower-case hex digits. */
export type Digest = string

/**
 * The store's own time, which no clock moves: each collection begins the next one. Comparable with other generations of
 * the same store, and with nothing else. A store with a clock that no user sets may take its time.
 */
export type Generation = number

export interface StoredFile {
  readonly digest: Digest
  /** Bytes at rest. */
  readonly size: number
  /** The generation in which it was put or last claimed; undefined where a list does not say. */
  readonly claimedIn: Generation | undefined
}

/** A file that `remove` moved aside, where it can still be read. */
export interface RemovedFile {
  readonly digest: Digest
  /** Bytes at rest. */
  readonly size: number
  /** The generation in which it was. */
  readonly removedIn: Generation
  /** Whether what was under way when it was removed, also a request that was delayed, has come to its end by now. */
  readonly isSettled: boolean
  /** Its own, for one digest may have been removed several times. */
  readonly name: string
}

/**
 * What was removed and is not gone yet, where a store cannot remove a file at once and for certain: one that was put or
 * claimed in the very moment may be among them.
 */
export interface RemovedFiles {
  list(): AsyncIterable<RemovedFile>
  /** Has the store hold the file again, unless it does. */
  putBack(file: RemovedFile): Promise<void>
  /** Deletes it for good. */
  purge(file: RemovedFile): Promise<void>
}

/**
 * A place for blocks, each named by the SHA-256 of its plain bytes and kept as it stands in an LZ4 frame
 * (docs/design.md "Blocks at rest"). Puts are atomic and idempotent; gets never return wrong bytes.
 */
export interface BlockStore {
  /**
   * Says whether a block is stored, and keeps it from a collection that is under way.
   * @returns its size at rest in bytes, or undefined where it is not stored
   */
  claim(digest: Digest): Promise<number | undefined>
  /** Its size at rest in bytes, and no claim; undefined where it is not stored. */
  sizeOf(digest: Digest): Promise<number | undefined>
  /**
   * Keeps a block at rest; it is on stable storage only after `sync`.
   * @param bytes may be reused once the promise resolves
   */
  put(digest: Digest, bytes: Uint8Array): Promise<void>
  /**
   * Puts a block in the place of one that is damaged, at no moment of which there is none. It is on stable storage when
   * the promise resolves, but for its name.
   */
  mend(digest: Digest, bytes: Uint8Array): Promise<void>
  /**
   * @returns the block at rest; its frame checksum was verified
   * @throws not_found, corrupt
   */
  get(digest: Digest): Promise<Uint8Array>
  /**
   * Reads a block at rest into memory of the caller's, who verifies it there.
   * @param target room for maxStoredSize(BLOCK_SIZE) bytes
   * @returns its bytes at rest
   * @throws not_found; corrupt where it is longer
   */
  readInto(digest: Digest, target: Uint8Array): Promise<number>
  /**
   * Removes a block unless it was put or claimed in `unclaimedSince` or later, however the two calls interleave. Where
   * there is `removed`, it is moved there, as may be one that is claimed at that moment, and is read from there.
   * @returns whether it was removed
   */
  remove(digest: Digest, unclaimedSince: Generation): Promise<boolean>
  /** Undefined where removal is final. */
  readonly removed?: RemovedFiles
  /** In the order of their digests, those behind `after`. */
  list(after?: Digest): AsyncIterable<StoredFile>
  /** Moves a damaged block out of the way, so that the same content can be put again. */
  quarantine(digest: Digest): Promise<void>
}

/** Immutable manifests, named by the SHA-256 of their root (docs/design.md "Manifests"). */
export interface ManifestStore {
  claim(digest: Digest): Promise<number | undefined>
  sizeOf(digest: Digest): Promise<number | undefined>
  /** Keeps what `parts` yield, in order; nothing is visible until all of it is written. */
  put(digest: Digest, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>
  /** The same in the place of one that is damaged. */
  mend(digest: Digest, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>
  /** @throws not_found */
  open(digest: Digest): Promise<RandomBytes & AsyncDisposable>
  remove(digest: Digest, unclaimedSince: Generation): Promise<boolean>
  readonly removed?: RemovedFiles
  list(after?: Digest): AsyncIterable<StoredFile>
  quarantine(digest: Digest): Promise<void>
}

/** Some of what a store holds, by name. */
export interface StoredNames {
  readonly blocks: readonly Digest[]
  readonly manifests: readonly Digest[]
}

export interface Store extends AsyncDisposable {
  readonly blocks: BlockStore
  readonly manifests: ManifestStore
  /** Whatever is put or claimed from now on has it, or a later one; it never goes back. */
  generation(): Promise<Generation>
  /** Begins the next one; for collections, of which one goes on at a time. @returns it */
  nextGeneration(): Promise<Generation>
  /**
   * Returns once everything put or claimed before the call is on stable storage, folder entries included.
   * @param only these and no others, which is quicker for a few
   * @throws unavailable; not_found where one of them is gone
   */
  sync(only?: StoredNames): Promise<void>
}
