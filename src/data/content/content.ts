import type { Content, Part, WrittenContent } from '#base/content.ts'

/** Up to so many bytes, a content is kept where it is named, and takes no file in the store. */
export const INLINE_MAX = 16 * 1024

/** Bytes as they come, one behind the other; disposing of it unfinished leaves nothing that counts. */
export interface ContentWriter extends AsyncDisposable {
  /** Bytes so far. */
  readonly size: number
  /** The chunk may be reused once the promise resolves. @throws unavailable, or the signal's reason */
  write(chunk: Uint8Array): Promise<void>
  /** Everything written is on stable storage when it resolves; to be called once. */
  finish(): Promise<WrittenContent>
}

/** Bytes in any order, over those of a content that stays as it is. */
export interface ContentEditor extends AsyncDisposable {
  readonly size: number
  /** Bytes between the old end and `offset` become zeros. May be called again before an earlier call resolved. */
  write(offset: number, chunk: Uint8Array): Promise<void>
  /** Fewer bytes than asked for only at the end. */
  read(offset: number, length: number): Promise<Uint8Array>
  truncate(size: number): Promise<void>
  /** As for a writer; may be called again after further changes. */
  finish(): Promise<WrittenContent>
  /** The same without its MD5, for which all that was there before would have to be read. */
  store(): Promise<Content>
}

export interface EditorOptions {
  readonly signal: AbortSignal
  /**
   * Holds a block in memory until it is full, however slowly that comes: else it is stored after each second without a
   * call, and again once it has changed. Whoever opens such editors bounds how many there are.
   */
  readonly holds?: boolean
  /** Nobody is going to ask for the MD5: it is made where somebody does, and not while blocks are stored. */
  readonly unsummed?: boolean
}

/** The bytes of some parts, one behind the other. */
export interface ContentReader extends AsyncDisposable {
  /** Bytes. */
  readonly size: number
  /**
   * Reads any range in chunks of at most 1 MiB and a little, to be read only, while the next one is loading. A chunk is
   * valid until the next one is asked for.
   * @throws corrupt, not_found, unavailable, or the signal's reason
   */
  read(offset: number, length: number, signal: AbortSignal): AsyncGenerator<Uint8Array>
}

/**
 * Writes and reads what objects hold: cut into the same blocks as images, by threads that all transfers of a process
 * share, so that memory stays flat however many there are.
 */
export interface ContentStore extends AsyncDisposable {
  openWriter(options: { readonly signal: AbortSignal }): ContentWriter
  /** @param base what is there before the first write; nothing where it is undefined. Moves no data. */
  openEditor(base: Content | undefined, options: EditorOptions): Promise<ContentEditor>
  /** Whoever opens one sees to it that collection knows of the manifests while it is open. */
  openReader(parts: readonly Part[]): Promise<ContentReader>
  /**
   * Bytes of a disk as it is read in a form.
   * @throws not_found, corrupt; invalid where the form cannot hold it
   */
  measure(manifest: string, form: 'raw' | 'lz4' | 'qcow2'): Promise<number>
  /**
   * One disk of several contents without moving data, but for a last one that is inline. Each but the last must be a
   * whole number of blocks long, and the whole a whole number of sectors. Whoever asks sees to it that collection
   * spares the parts, and what nothing names yet.
   * @returns the manifest's digest, on stable storage; undefined where they do not fit together so
   */
  join(parts: readonly Part[]): Promise<{ readonly manifest: string; readonly size: number } | undefined>
}
