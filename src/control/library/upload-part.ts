import { MiB } from '#base/bytes.ts'
import type { Content } from '#base/content.ts'
import type { ContentEditor } from '#data/content/content.ts'

/** What has come is made known after so many bytes, or after a part of all that is there, whichever is more. */
const STEP = 64 * MiB
const SHARE = 8
/** Milliseconds after which it is made known however little it is: an upload that moves is not given up. */
const RECORD_MS = 3600_000

/** An upload of `from` bytes has become one of `size`, all of them on stable storage. */
export interface Growth {
  readonly from: number
  readonly size: number
  readonly content: Content
}

export interface UploadPartDeps<T> {
  /** Over all that came before. */
  readonly editor: ContentEditor
  /** Makes it known; until then the upload is as long as it was. */
  readonly record: (growth: Growth) => Promise<T>
  readonly now: () => number
}

/** The bytes of one request, on their way into the store behind those that were there. */
export class UploadPart<T> {
  readonly #deps: UploadPartDeps<T>
  #size: number
  #recorded: number
  #recordedAt: number

  constructor(deps: UploadPartDeps<T>) {
    this.#deps = deps
    this.#size = deps.editor.size
    this.#recorded = this.#size
    this.#recordedAt = deps.now()
  }

  get size(): number {
    return this.#size
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#deps.editor.write(this.#size, chunk)
    this.#size += chunk.length
    const isMuch = this.#size - this.#recorded >= Math.max(STEP, this.#recorded / SHARE)
    if (isMuch || this.#deps.now() - this.#recordedAt >= RECORD_MS) await this.record()
  }

  async record(): Promise<T> {
    const { editor, record, now } = this.#deps
    // A chunk of which only some was written has not come.
    if (editor.size > this.#size) await editor.truncate(this.#size)
    const content = await editor.store()
    const recorded = await record({ from: this.#recorded, size: this.#size, content })
    this.#recorded = this.#size
    this.#recordedAt = now()
    return recorded
  }
}

/** Passes on until the signal aborts, also while the source is silent; the source is then told, and not waited for. */
export async function* endedBy(
  signal: AbortSignal,
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const iterator = bytes[Symbol.asyncIterator]()
  let stop: (reason: unknown) => void = () => {}
  const onAbort = () => stop(signal.reason)
  signal.addEventListener('abort', onAbort)
  try {
    for (;;) {
      signal.throwIfAborted()
      const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        stop = reject
        iterator.next().then(resolve, reject)
      })
      if (next.done) return
      yield next.value
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    // A silent source answers only once it speaks again.
    void iterator.return?.().catch(() => undefined)
  }
}
