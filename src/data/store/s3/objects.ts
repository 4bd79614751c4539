import type { ByteStream } from '#base/bytes.ts'
import type { Generation } from '../store.ts'

/** What is known of an object without reading it. */
export interface ObjectHead {
  /** Bytes. */
  readonly size: number
  /** The generation that it was put with; 0 for what others put. */
  readonly generation: Generation
}

export interface ListedObject {
  readonly key: string
  /** Bytes. */
  readonly size: number
  /** Milliseconds since it was put, by the server's clock alone; some round to a second or two. */
  readonly ageMs: number
}

/** A part of an object. */
export interface ObjectPart {
  readonly bytes: Buffer
  /** Bytes of the whole object. */
  readonly size: number
}

/**
 * What the store needs of an object store, by keys behind its prefix. Each call is tried again where that may help,
 * for a while; what it says then is `unavailable`.
 */
export interface S3Objects extends AsyncDisposable {
  /** Resolves once the server has acknowledged it. */
  put(key: string, bytes: Uint8Array, generation: Generation): Promise<void>
  /** Puts what a stream yields, part by part where it is long; nothing is visible where that fails. */
  putStream(key: string, bytes: Iterable<Uint8Array> | ByteStream, generation: Generation): Promise<void>
  /** @returns undefined where it is not there @throws corrupt where it is longer than `limit` bytes */
  get(key: string, limit: number): Promise<Buffer | undefined>
  /** At most `length` bytes from `offset` on, which lies inside. @returns undefined where it is not there */
  getPart(key: string, offset: number, length: number): Promise<ObjectPart | undefined>
  /** @returns undefined where it is not there */
  head(key: string): Promise<ObjectHead | undefined>
  /** On the server, its generation too. @returns false where there is nothing to copy */
  copy(from: string, to: string): Promise<boolean>
  /** Also where it is not there. */
  delete(key: string): Promise<void>
  /** In the order of their keys: those that begin with `prefix`, behind `after`. */
  list(prefix: string, after?: string): AsyncIterable<ListedObject>
}
