import type { Part } from '#base/content.ts'
import type { ImportLimits } from '#base/limits.ts'
import type { ContentReader } from '#data/content/content.ts'
import { openParts } from '#data/content/reader.ts'
import { directLoader } from '#data/form/disk-blocks.ts'
import { openLayout } from '#data/form/form.ts'
import { sourceTooLarge } from '#data/source/failure.ts'
import type { Source } from '#data/source/source.ts'
import type { Store } from '#data/store/store.ts'
import type { OwnSource } from './ingest-types.ts'

/** Bytes of our own store, every block verified as it is read; whoever names them keeps them from collection. */
export const readParts = (parts: readonly Part[], store: Store): ContentReader =>
  openParts(parts, ({ manifest, form }) => openLayout(store, manifest, form, directLoader(store.blocks)))

/**
 * Opens an object or upload as a source, without going over the network.
 * @throws too-large; the stream throws corrupt where stored bytes are damaged
 */
export function openPartsSource(options: {
  readonly source: OwnSource
  readonly store: Store
  readonly limits: ImportLimits
  readonly signal: AbortSignal
}): Source {
  const { source, store, limits, signal } = options
  const reader = readParts(source.parts, store)
  if (reader.size > limits.sourceSize) throw sourceTooLarge(reader.size, limits.sourceSize)
  let received = 0
  async function* stream() {
    for await (const chunk of reader.read(0, reader.size, signal)) {
      received += chunk.length
      yield chunk
    }
  }
  return {
    stream: stream(),
    finalUrl: undefined,
    size: reader.size,
    isEndTold: true,
    etag: source.etag,
    lastModified: source.lastModified,
    contentType: undefined,
    received: () => received,
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  }
}
