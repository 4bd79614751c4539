import type { ByteStream } from '#base/bytes.ts'

/** An open source: its bytes in order, and what is known about them. Disposing closes what it holds open. */
export interface Source extends AsyncDisposable {
  /** Can be read once. A chunk is valid until the next one is asked for: its memory is used again. */
  readonly stream: ByteStream
  /** Where the bytes come from after redirects, fit to be shown; undefined for bytes of our own store. */
  readonly finalUrl: string | undefined
  /** Bytes in all, where the source says; a claim until the stream has ended. */
  readonly size: number | undefined
  /** Whether anything but the end of a connection tells where the bytes end. */
  readonly isEndTold: boolean
  readonly etag: string | undefined
  readonly lastModified: string | undefined
  readonly contentType: string | undefined
  /** Bytes that have arrived so far. */
  received(): number
}
