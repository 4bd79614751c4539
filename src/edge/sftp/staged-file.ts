import type { Content, WrittenContent } from '#base/content.ts'
import type { ObjectAttributes } from '#control/orbit/orbit.ts'
import type { ContentEditor, ContentStore } from '#data/content/content.ts'
import type { FileRoom } from './file-room.ts'
import type { Files, Located, ObjectName } from './files.ts'
import { MTIME } from './files.ts'

/** Marks what came of a connection that broke: whoever goes on with it may be cut off again, and nothing is lost. */
const PARTIAL = 'sftp-partial'

export interface StageOptions {
  readonly files: Files
  readonly contents: ContentStore
  readonly name: ObjectName
  /** What is there and stays until it is written over; undefined where writing begins with nothing. */
  readonly base: Located | undefined
  /** Whether an object of that name was there; undefined where the client may not know. */
  readonly existed: boolean | undefined
  /** Disposed of with the file. */
  readonly room: FileRoom
  readonly now: () => number
  readonly signal: AbortSignal
}

/**
 * A file being written, seen by its own connection only until it is published. All handles of a connection that are
 * open on the same name have the same one, as on any file system.
 */
export class StagedFile {
  #name: ObjectName
  /** Open handles. */
  handles = 0
  /** Seconds since 1970. */
  mtime: number
  readonly #options: StageOptions
  readonly #editor: ContentEditor
  /** With what is on its way. */
  #size: number
  /** There is something that is not published. */
  #isDirty: boolean
  #isRemoved = false
  /** Why it may not be as large as the client would have it; nothing of it is ever published then. */
  #refused: unknown
  /** Some write left bytes out behind the end, which may still come. */
  #hasGaps = false
  /** Set by the client, and so kept. */
  #mtimeSet: number | undefined
  readonly #writes = new Set<Promise<void>>()

  private constructor(options: StageOptions, editor: ContentEditor) {
    this.#options = options
    this.#editor = editor
    this.#size = editor.size
    this.#name = options.name
    this.#isDirty = options.base === undefined
    this.mtime = options.now() / 1000
  }

  static async open(options: StageOptions): Promise<StagedFile> {
    const { contents, base, signal } = options
    const whole = base && (await wholeContent(contents, base))
    const editor = await contents.openEditor(whole, { signal })
    const stage = new StagedFile(options, editor)
    if (base && base.info.size > 0 && !whole) await stage.#copy(base, signal)
    return stage
  }

  get name(): ObjectName {
    return this.#name
  }

  /** Bytes, those on their way among them. */
  get size(): number {
    return this.#size
  }

  /** Bytes are taken at once, in any order. @param chunk left alone until the promise resolves */
  write(offset: number, chunk: Uint8Array): Promise<void> {
    this.#isDirty = true
    if (offset > this.#size) this.#hasGaps = true
    this.#size = Math.max(this.#size, offset + chunk.length)
    this.mtime = this.#options.now() / 1000
    const writing = this.#write(offset, chunk)
    this.#writes.add(writing)
    const forget = () => void this.#writes.delete(writing)
    writing.then(forget, forget)
    return writing
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    await this.#settle()
    return await this.#editor.read(offset, length)
  }

  async truncate(size: number): Promise<void> {
    await this.#settle()
    if (size === this.#size) return
    if (!this.#options.room.has(size)) await this.#options.room.demand(this.#name, size)
    this.#isDirty = true
    this.#size = size
    await this.#editor.truncate(size)
  }

  /** @param mtime seconds since 1970 */
  setMtime(mtime: number): void {
    this.mtime = mtime
    this.#mtimeSet = mtime
    this.#isDirty = true
  }

  /** Room is taken anew, where it is now. */
  async rename(name: ObjectName): Promise<void> {
    this.#name = name
    await this.#options.room.release()
  }

  /** Somebody removed the name: what is written from now on is for nobody. */
  remove(): void {
    this.#isRemoved = true
  }

  /** Puts what was written in the place of what is there, where anything was. */
  async publish(): Promise<void> {
    if (!this.#isDirty || this.#isRemoved) return
    await this.#settle()
    if (this.#refused !== undefined) throw this.#refused
    await this.#publish(await this.#editor.finish(), {})
    this.#isDirty = false
  }

  /** The connection is gone: nothing that was there is replaced, and what came to nothing can be gone on with. */
  async abandon(): Promise<void> {
    await Promise.allSettled(this.#writes)
    const { existed, base } = this.#options
    const goesOn = base !== undefined && base.info.metadata[PARTIAL] !== undefined
    const isWhole = !this.#hasGaps && this.#refused === undefined
    const isWorthIt = this.#isDirty && !this.#isRemoved && isWhole && this.#size > 0
    if (isWorthIt && (existed === false || goesOn)) {
      await this.#publish(await this.#editor.finish(), { [PARTIAL]: '1' })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { base, files, room } = this.#options
    await Promise.allSettled(this.#writes)
    await using ending = new AsyncDisposableStack()
    ending.use(room)
    if (base) ending.defer(() => files.release(base.lease))
    ending.use(this.#editor)
  }

  /** The first write for which there is no room is the last: the client has its error at once. */
  async #write(offset: number, chunk: Uint8Array): Promise<void> {
    const { room } = this.#options
    const end = offset + chunk.length
    if (this.#refused !== undefined) throw this.#refused
    if (!room.has(end)) {
      try {
        await room.demand(this.#name, end)
      } catch (error) {
        this.#refused = error
        await room.release()
        throw error
      }
    }
    await this.#editor.write(offset, chunk)
  }

  /** Waits for writes that were taken. @throws what went wrong with one */
  async #settle(): Promise<void> {
    while (this.#writes.size > 0) await Promise.all(this.#writes)
  }

  async #publish(written: WrittenContent, more: Readonly<Record<string, string>>): Promise<void> {
    const info = this.#options.base?.info
    const { [MTIME]: _mtime, [PARTIAL]: _partial, ...metadata } = info?.metadata ?? {}
    const attributes: ObjectAttributes = {
      ...(info ? { contentType: info.contentType } : {}),
      ...(info?.deleteAt === undefined ? {} : { deleteAt: info.deleteAt }),
      headers: info?.headers ?? {},
      metadata: {
        ...metadata,
        ...(this.#mtimeSet === undefined ? {} : { [MTIME]: printMtime(this.#mtimeSet) }),
        ...more,
      },
    }
    const { files, room } = this.#options
    await files.publish(this.#name, attributes, written, room.lease)
    await room.release()
  }

  /** For what lies in pieces that no manifest can have. */
  async #copy({ parts }: Located, signal: AbortSignal): Promise<void> {
    await using reader = await this.#options.contents.openReader(parts)
    let offset = 0
    for await (const chunk of reader.read(0, reader.size, signal)) {
      await this.#editor.write(offset, chunk)
      offset += chunk.length
      this.#size = offset
    }
  }
}

/** As swift writes it: its clients compare the text. */
export const printMtime = (seconds: number): string => `${seconds}.000000`

/** All the parts as one content, where that moves no data. */
async function wholeContent(contents: ContentStore, { parts }: Located): Promise<Content | undefined> {
  const [part, ...more] = parts
  if (!part?.content) return undefined
  const { content, offset, length } = part
  const size = content.kind === 'inline' ? content.bytes.length : content.size
  const isRaw = content.kind === 'inline' || content.form === 'raw'
  if (more.length === 0 && isRaw && offset === 0 && length === size) return content
  const joined = await contents.join(parts)
  return joined && { kind: 'manifest', form: 'raw', ...joined }
}
