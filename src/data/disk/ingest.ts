import type { ByteStream } from '#base/bytes.ts'
import { MiB } from '#base/bytes.ts'
import type { ImportLimits } from '#base/limits.ts'
import type { DecodeOptions } from '#data/format/decode-options.ts'
import { decodeLz4 } from '#data/format/lz4/decode.ts'
import { HEAD_SIZE, recogniseContainer } from '#data/format/probe.ts'
import { recogniseCompression, refuseSecondCompression } from '#data/format/probe-compression.ts'
import { type Compression, tooLarge } from '#data/format/stream-refusals.ts'
import { decodeStream } from '#data/native/decode-stream.ts'
import { endsWithinSector } from '#data/source/failure.ts'
import { openHttpSource } from '#data/source/http-source.ts'
import type { Source } from '#data/source/source.ts'
import { redactUrl } from '#data/source/source-url.ts'
import type { Reserve } from '#data/store/reserve.ts'
import type { Store } from '#data/store/store.ts'
import { adopt } from './adopt.ts'
import { SECTOR } from './disk-cutter.ts'
import type { IngestContext, IngestedDisk, Layer } from './ingest-context.ts'
import { ingestQcow2 } from './ingest-qcow2.ts'
import { ingestRaw } from './ingest-raw.ts'
import type { IngestRequest, IngestResult, IngestSource, VolumeSource } from './ingest-types.ts'
import { ingestVolume } from './ingest-volume.ts'
import { openPartsSource } from './parts-source.ts'
import { Receipt } from './receipt.ts'
import { type IngestDeps, storeDisk } from './store-disk.ts'
import { type PeekedStream, peek } from './stream-head.ts'
import { openXz } from './xz-layer.ts'

/** One whose source is a stream of bytes. */
type ReadRequest = IngestRequest & { readonly source: Exclude<IngestSource, VolumeSource> }

/**
 * The whole inward path of one image: source → compression → format → blocks → store → manifest. When it returns, all
 * of it is on stable storage.
 * @throws Refusal, SourceFailure, LibraryError, or the signal's reason
 */
export async function ingest(request: IngestRequest, deps: IngestDeps): Promise<IngestResult> {
  const { source, limits, expectedSha256 } = request
  const { store, signal } = deps
  if (source.kind === 'volume') return ingestVolume(source, limits, deps)
  // Who demands a checksum wants the bytes to be read.
  const adopted =
    source.kind === 'parts' && expectedSha256 === undefined
      ? await adopt({ source, store, limits, signal })
      : undefined
  return adopted ?? readAll({ ...request, source }, deps)
}

async function readAll(request: ReadRequest, deps: IngestDeps): Promise<IngestResult> {
  const { limits } = request
  const { size, ...stored } = await storeDisk(limits, deps, async (context) => {
    const { meter, reserve, signal, pipeline } = context
    await using source = await openSource(request, deps.store, signal)
    meter.total = source.size
    await deps.admit?.(source.size)
    const receipt = new Receipt(source.stream, meter)
    const disk = await readDisk(watchSpace(receipt.stream(), reserve), source.size, context)
    await pipeline.drain()
    const sha256 = receipt.finish(request.expectedSha256)
    // A raw disk has no end of its own; nearly all that are cut off somewhere are noticed by this.
    const isSure = source.isEndTold || request.expectedSha256 !== undefined || disk.formatChain !== 'raw'
    if (!isSure && receipt.bytes % SECTOR !== 0) throw endsWithinSector(receipt.bytes)
    const { finalUrl, etag, lastModified } = source
    const url = shownUrl(request)
    return { ...disk, source: { url, finalUrl, bytes: receipt.bytes, sha256, etag, lastModified } }
  })
  return { ...stored, virtualSize: size }
}

/** What arrives may be spooled, and so fill the disk before any block is put. */
async function* watchSpace(input: ByteStream, reserve: Reserve): AsyncGenerator<Uint8Array, void, undefined> {
  let unwatched = 0
  for await (const chunk of input) {
    unwatched += chunk.length
    if (unwatched >= MiB) {
      reserve.demand(unwatched)
      unwatched = 0
    }
    yield chunk
  }
}

async function openSource(
  { source, limits, allowSource }: ReadRequest,
  store: Store,
  signal: AbortSignal,
): Promise<Source> {
  switch (source.kind) {
    case 'http':
      return openHttpSource({ url: source.url, limits, allowSource, signal })
    case 'parts':
      return openPartsSource({ source, store, limits, signal })
  }
}

function shownUrl({ source }: ReadRequest): string | undefined {
  return source.kind === 'http' ? redactUrl(source.url) : source.url
}

/** Takes one layer of compression off, decides what is inside, once and for all, and reads it. */
async function readDisk(
  input: ByteStream,
  sourceSize: number | undefined,
  context: IngestContext,
): Promise<IngestedDisk & { readonly formatChain: string }> {
  const { limits, signal, openDecoder } = context
  const compressed = await peekCompression(input)
  const options: DecodeOptions = {
    limit: containerLimit(limits),
    xzDictionary: limits.xzDictionary,
    zstdWindow: limits.zstdWindow,
    signal,
  }
  const layer = await openLayer(compressed, options, openDecoder)
  const plain = compressed.kind === 'none'
  if (!plain) refuseSecondCompression(layer.head)
  const container = recogniseContainer(layer.head)
  if (plain && container.format === 'raw' && sourceSize !== undefined && sourceSize > limits.virtualSize) {
    throw tooLarge(limits.virtualSize, sourceSize)
  }
  const fileSize = plain
    ? { size: sourceSize, limit: limits.sourceSize }
    : { size: undefined, limit: options.limit }
  const disk =
    container.format === 'qcow2'
      ? await ingestQcow2(layer.stream, fileSize, context)
      : await ingestRaw(layer, container.notes, context)
  return { ...disk, formatChain: plain ? container.format : `${compressed.kind}+${container.format}` }
}

/** Looks at the first bytes until they tell how the source is compressed. */
async function peekCompression(
  input: ByteStream,
): Promise<{ kind: Compression | 'none'; peeked: PeekedStream }> {
  let peeked = await peek(input, HEAD_SIZE)
  for (;;) {
    const recognised = recogniseCompression(peeked.head, peeked.ended)
    if (recognised.kind !== 'more') return { kind: recognised.kind, peeked }
    peeked = await peeked.more(recognised.bytes)
  }
}

function openLayer(
  { kind, peeked }: { kind: Compression | 'none'; peeked: PeekedStream },
  options: DecodeOptions,
  openDecoder: IngestContext['openDecoder'],
): Layer | Promise<Layer> {
  switch (kind) {
    case 'none':
      return peeked
    case 'xz':
      return openXz(peeked.stream, options)
    case 'lz4':
      return peek(decodeLz4(peeked.stream, options), HEAD_SIZE)
    case 'gzip':
    case 'zstd': {
      const { limit, zstdWindow, signal } = options
      const order = { kind, limit, zstdWindow }
      return peek(decodeStream(peeked.stream, order, { open: openDecoder, signal }), HEAD_SIZE)
    }
  }
}

/** How long a decompressed image file may be: a disk of the largest size, all of it data, and its tables. */
function containerLimit({ virtualSize }: ImportLimits): number {
  return virtualSize + Math.ceil(virtualSize / 16) + 64 * MiB
}
