import { assert } from '#base/errors.ts'
import type { ImportLimits } from '#base/limits.ts'
import { BLOCK_SIZE, blockLength } from '#data/block/block.ts'
import type { ContentReader } from '#data/content/content.ts'
import { HEAD_SIZE, recogniseContainer, TAIL_SIZE } from '#data/format/probe.ts'
import { recogniseCompression } from '#data/format/probe-compression.ts'
import { tooLarge } from '#data/format/stream-refusals.ts'
import { type Manifest, openManifest } from '#data/manifest/manifest.ts'
import { sourceTooLarge } from '#data/source/failure.ts'
import type { Store } from '#data/store/store.ts'
import type { IngestResult, OwnSource } from './ingest-types.ts'
import { readParts } from './parts-source.ts'

const SECTOR = 512
const TAKEN_OVER = 'What was uploaded became the image as it is: its bytes were not read or written again.'

export interface AdoptOptions {
  readonly source: OwnSource
  readonly store: Store
  readonly limits: ImportLimits
  readonly signal: AbortSignal
}

/**
 * Makes an image of an object or upload that is a raw disk and lies in the store as one: looks at its head and tail, as
 * every registration does, and reads and writes nothing else.
 * @returns undefined where it has to be read after all
 * @throws Refusal, corrupt
 */
export async function adopt(options: AdoptOptions): Promise<IngestResult | undefined> {
  const { source, store, limits, signal } = options
  if (source.disk === undefined) return undefined
  await using reader = readParts(source.parts, store)
  const { size } = reader
  if (size > limits.sourceSize) throw sourceTooLarge(size, limits.sourceSize)
  if (size % SECTOR !== 0) return undefined
  const notes = await recogniseRaw(reader, signal)
  if (notes === undefined) return undefined
  if (size > limits.virtualSize) throw tooLarge(limits.virtualSize, size)
  await using manifest = await openManifest(store.manifests, source.disk)
  assert(manifest.diskSize === size, `a disk of ${size} bytes has a manifest of ${manifest.diskSize}`)
  return {
    manifest: source.disk,
    virtualSize: size,
    dataSize: await countData(manifest),
    addedSize: 0,
    formatChain: 'raw',
    notes: [...notes, TAKEN_OVER],
    source: {
      url: source.url,
      finalUrl: undefined,
      bytes: size,
      sha256: undefined,
      etag: source.etag,
      lastModified: source.lastModified,
    },
  }
}

/** @returns what is to be said of a raw disk; undefined for anything else */
async function recogniseRaw(
  reader: ContentReader,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  const read = async (offset: number, length: number) => {
    const chunks: Uint8Array[] = []
    for await (const chunk of reader.read(offset, length, signal)) chunks.push(chunk.slice())
    return Buffer.concat(chunks)
  }
  const upTo = (length: number) => read(0, Math.min(length, reader.size))
  let head = await upTo(HEAD_SIZE)
  for (;;) {
    const compression = recogniseCompression(head, head.length === reader.size)
    if (compression.kind === 'none') break
    if (compression.kind !== 'more') return undefined
    head = await upTo(compression.bytes)
  }
  head = head.subarray(0, HEAD_SIZE)
  if (recogniseContainer(head).format !== 'raw') return undefined
  const container = recogniseContainer(head, await read(reader.size - TAIL_SIZE, TAIL_SIZE))
  return container.format === 'raw' ? container.notes : undefined
}

/** Bytes in blocks that are not all zeros. */
async function countData(manifest: Manifest): Promise<number> {
  const last = manifest.blockCount - 1
  const missing = (await manifest.entry(last)) ? BLOCK_SIZE - blockLength(manifest.diskSize, last) : 0
  return manifest.dataBlocks * BLOCK_SIZE - missing
}
