import { createHash } from 'node:crypto'
import type { Content, Part, WrittenContent } from '#base/content.ts'
import { LibraryError } from '#base/errors.ts'
import { type ContentEditor, type ContentStore, INLINE_MAX } from '#data/content/content.ts'

/** A content store in memory; manifests are named by the SHA-256 of what they stand for. */
export class MemoryContents implements ContentStore {
  readonly manifests = new Map<string, Buffer>()
  /** Writers that are not disposed of. */
  open = 0

  openWriter(): ReturnType<ContentStore['openWriter']> {
    const chunks: Buffer[] = []
    const size = () => chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    this.open++
    return {
      get size() {
        return size()
      },
      write: async (chunk) => void chunks.push(Buffer.from(chunk)),
      finish: async () => this.keep(Buffer.concat(chunks)),
      [Symbol.asyncDispose]: async () => void this.open--,
    }
  }

  keep(bytes: Buffer): WrittenContent {
    const md5 = createHash('md5').update(bytes).digest('hex')
    if (bytes.length <= INLINE_MAX) return { content: { kind: 'inline', bytes }, size: bytes.length, md5 }
    const manifest = createHash('sha256').update(bytes).digest('hex')
    this.manifests.set(manifest, bytes)
    return {
      content: { kind: 'manifest', manifest, form: 'raw', size: bytes.length },
      size: bytes.length,
      md5,
    }
  }

  async openEditor(base: Content | undefined, { signal }: { signal: AbortSignal }): Promise<ContentEditor> {
    let bytes = base ? Buffer.from(this.#read(base)) : Buffer.alloc(0)
    this.open++
    const truncate = async (size: number) => {
      signal.throwIfAborted()
      const before = bytes
      bytes = Buffer.alloc(size)
      before.copy(bytes)
    }
    const finish = async () => {
      signal.throwIfAborted()
      return this.keep(bytes)
    }
    return {
      get size() {
        return bytes.length
      },
      async write(offset, chunk) {
        await truncate(Math.max(bytes.length, offset + chunk.length))
        bytes.set(chunk, offset)
      },
      read: async (offset, length) => bytes.subarray(offset, offset + length),
      truncate,
      finish,
      store: async () => (await finish()).content,
      [Symbol.asyncDispose]: async () => void this.open--,
    }
  }

  async openReader(parts: readonly Part[]): ReturnType<ContentStore['openReader']> {
    const bytes = this.#bytesOf(parts)
    return {
      size: bytes.length,
      async *read(offset, length) {
        yield bytes.subarray(offset, offset + length)
      },
      [Symbol.asyncDispose]: async () => {},
    }
  }

  /** In other forms it is a little longer. */
  async measure(manifest: string, form: 'raw' | 'lz4' | 'qcow2'): Promise<number> {
    const bytes = this.manifests.get(manifest)
    if (!bytes) throw new LibraryError('not_found', 'a manifest is gone')
    return bytes.length + { raw: 0, lz4: 7, qcow2: 100 }[form]
  }

  async join(parts: readonly Part[]) {
    const { content, size } = this.keep(this.#bytesOf(parts))
    return content.kind === 'manifest' ? { manifest: content.manifest, size } : undefined
  }

  #bytesOf(parts: readonly Part[]): Buffer {
    return Buffer.concat(
      parts.map(({ content, ...part }) => {
        if (!content || !('offset' in part)) throw new Error('a segment is gone')
        return this.#read(content).subarray(part.offset, part.offset + part.length)
      }),
    )
  }

  #read(content: Content): Uint8Array {
    if (content.kind === 'inline') return content.bytes
    const bytes = this.manifests.get(content.manifest)
    if (!bytes) throw new Error('a manifest is gone')
    return bytes
  }

  async [Symbol.asyncDispose]() {}
}
