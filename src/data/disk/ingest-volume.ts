import { lstat } from 'node:fs/promises'
import { assert } from '#base/errors.ts'
import type { ImportLimits } from '#base/limits.ts'
import { Refusal } from '#base/refusal.ts'
import { BLOCK_SIZE, blockLength } from '#data/block/block.ts'
import { directLoader } from '#data/form/disk-blocks.ts'
import { tooLarge } from '#data/format/stream-refusals.ts'
import { openManifest } from '#data/manifest/manifest.ts'
import type { Store } from '#data/store/store.ts'
import { openLayer } from '#data/volume/open-layer.ts'
import { openOwnFile } from '#data/volume/own-file.ts'
import type { IngestContext } from './ingest-context.ts'
import type { IngestResult, VolumeSource } from './ingest-types.ts'
import { type IngestDeps, storeDisk } from './store-disk.ts'
import {
  alignShares,
  fileShares,
  layerShares,
  manifestShares,
  type SeenBlock,
  type Share,
} from './volume-shares.ts'

/**
 * Makes an image of a server's disk. Blocks that only the base's manifest has are neither read nor claimed: whoever
 * asks keeps that manifest, and so its blocks, from collection until the new one is kept as well.
 * What the guest wrote is data, whatever it looks like: nothing is recognised in it.
 * @throws Refusal, LibraryError, or the signal's reason
 */
export async function ingestVolume(
  source: VolumeSource,
  limits: ImportLimits,
  deps: IngestDeps,
): Promise<IngestResult> {
  if (source.size > limits.virtualSize) throw tooLarge(limits.virtualSize, source.size)
  const { size, ...stored } = await storeDisk(limits, deps, async (context) => {
    await deps.admit?.(await sizeOnDisk(source.layers))
    await using opened = new AsyncDisposableStack()
    await storeShares(await openShares(source, { opened, store: deps.store, context }), source, context)
    await context.pipeline.drain()
    checkData(source, context)
    return { size: source.size, notes: [] }
  })
  return {
    ...stored,
    virtualSize: size,
    formatChain: 'volume',
    source: {
      url: undefined,
      finalUrl: undefined,
      bytes: size,
      sha256: undefined,
      etag: undefined,
      lastModified: undefined,
    },
  }
}

/** Bytes that files take: what layers add to the store is hardly more. What is wrong with one, its opening tells. */
async function sizeOnDisk(paths: readonly string[]): Promise<number> {
  const blocks = await Promise.all(
    paths.map((path) =>
      lstat(path).then(
        (stat) => stat.blocks,
        () => 0,
      ),
    ),
  )
  return blocks.reduce((sum, count) => sum + count * STAT_BLOCK, 0)
}

/** What `st_blocks` counts, stat(2). */
const STAT_BLOCK = 512

async function openShares(
  { base, layers, size }: VolumeSource,
  deps: { readonly opened: AsyncDisposableStack; readonly store: Store; readonly context: IngestContext },
): Promise<AsyncGenerator<SeenBlock>> {
  const { opened, store, context } = deps
  const { signal } = context
  const strata: (Iterable<Share> | AsyncIterable<Share>)[] = []
  if ('manifest' in base) {
    const manifest = opened.use(await openManifest(store.manifests, base.manifest))
    assert(manifest.diskSize <= size, `a base of ${manifest.diskSize} bytes below a disk of ${size}`)
    strata.push(manifestShares(manifest, { size, loader: directLoader(store.blocks), signal }))
  } else {
    strata.push(fileShares(opened.use(await openOwnFile(base.file)), size))
  }
  for (const path of layers) {
    const layer = opened.use(await openLayer(path, { sizeLimit: size }))
    if (layer.size !== size) {
      throw new Refusal(
        'size-mismatch',
        `A layer is for a disk of ${layer.size} bytes, and the disk has ${size}.`,
      )
    }
    strata.push(layerShares(layer, signal))
  }
  return alignShares(strata)
}

async function storeShares(
  blocks: AsyncIterable<SeenBlock>,
  source: VolumeSource,
  context: IngestContext,
): Promise<void> {
  const { manifest, meter, signal } = context
  const { size } = source
  meter.total = size
  meter.virtualSize = size
  meter.enter('receiving')
  for await (const seen of blocks) {
    signal.throwIfAborted()
    const { index, shares } = seen
    const [lowest] = shares
    const length = blockLength(size, index)
    // Blocks of zeros before it are done with.
    meter.decoded += index * BLOCK_SIZE - meter.received
    if (shares.every(({ isZeros }) => isZeros)) {
      meter.decoded += length
    } else if (lowest?.entry && shares.length === 1) {
      await manifest.set(index, lowest.entry.digest, lowest.entry.storedLength)
      meter.decoded += length
      meter.dataSize += length
    } else {
      await storeBlock(seen, length, context)
    }
    meter.received = index * BLOCK_SIZE + length
    checkData(source, context)
  }
  meter.decoded += size - meter.received
  meter.received = size
  meter.enter('decoding')
}

async function storeBlock(
  { index, shares }: SeenBlock,
  length: number,
  { pipeline }: IngestContext,
): Promise<void> {
  const address = await pipeline.acquireSlot()
  const block = pipeline.bytes.subarray(address, address + length)
  if (!shares[0]?.isWhole) block.fill(0)
  for (const share of shares) await share.fill(block)
  pipeline.submitBlock(index, address, length)
}

function checkData({ dataLimit }: VolumeSource, { meter }: IngestContext): void {
  if (meter.dataSize <= dataLimit) return
  throw new Refusal(
    'too-large',
    `The disk has more data than a snapshot may have: ${meter.dataSize} bytes and more, ${dataLimit} is the limit.`,
    {
      hint: 'Delete files in the server and run fstrim there, or ask the operator to raise the limit.',
    },
  )
}
