/**
 * Where bytes are: a few of them as they are, more of them in blocks that a manifest lists. The size is that of the
 * bytes read; a manifest of an object is read as `raw`, one of an image in any form.
 */
export type Content =
  | { readonly kind: 'inline'; readonly bytes: Uint8Array }
  | {
      readonly kind: 'manifest'
      readonly manifest: string
      readonly form: 'raw' | 'lz4' | 'qcow2'
      readonly size: number
    }

/** Some bytes of a content. What an object reads as is a list of these, one behind the other. */
export type Part =
  | { readonly content: Content; readonly offset: number; readonly length: number }
  /** A segment of a static large object that is gone or another one by now: reading breaks off here. */
  | { readonly content: undefined; readonly why: string; readonly length: number }

/** What came of writing bytes. */
export interface WrittenContent {
  readonly content: Content
  /** Bytes. */
  readonly size: number
  /** 32 hex digits. */
  readonly md5: string
}
