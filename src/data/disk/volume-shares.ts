import { BLOCK_SIZE, blockCount, blockLength } from '#data/block/block.ts'
import { type BlockLoader, loadPlain } from '#data/form/disk-blocks.ts'
import { bytesOf, letGo } from '#data/form/pieces.ts'
import type { Manifest } from '#data/manifest/manifest.ts'
import type { ManifestEntry } from '#data/manifest/page.ts'
import type { OwnFile } from '#data/volume/own-file.ts'
import type { LayerPart, LayerReader } from '#data/volume/volume.ts'

/** What a volume's base, or one of its layers, has of one block. */
export interface Share {
  readonly index: number
  /** Whether nothing below it is seen. */
  readonly isWhole: boolean
  /** Whether all that it has are zeros. */
  readonly isZeros: boolean
  /** The block as the store has it, where it is just that. */
  readonly entry?: ManifestEntry
  /** Writes what it has into the block, over what is below. */
  fill(block: Uint8Array): Promise<void>
}

/** What is seen of one block: shares of base and layers, lowest first, from the last one on that hides the others. */
export interface SeenBlock {
  readonly index: number
  readonly shares: readonly Share[]
}

/** The base's, where that is a manifest: nothing of it is read before a share is filled in. */
export async function* manifestShares(
  manifest: Manifest,
  options: { readonly size: number; readonly loader: BlockLoader; readonly signal: AbortSignal },
): AsyncGenerator<Share> {
  const { size, loader, signal } = options
  for await (const { index, ...entry } of manifest.entries()) {
    const length = blockLength(manifest.diskSize, index)
    const isWhole = length === blockLength(size, index)
    const fill = async (block: Uint8Array) => {
      const loaded = await loadPlain(loader, { index, length, ...entry }, signal)
      block.set(bytesOf(loaded))
      letGo(loaded)
    }
    // The last block of a shorter disk goes on with zeros, and has another digest then.
    const share = { index, isWhole, isZeros: false, fill }
    yield isWhole ? { ...share, entry } : share
  }
}

/** The base's, where that is a file: nobody knows what of it are zeros, so all is read. */
export function* fileShares(file: OwnFile, size: number): Generator<Share> {
  const used = Math.min(file.size, size)
  for (let index = 0; index < blockCount(used); index++) {
    const length = blockLength(used, index)
    const isWhole = length === blockLength(size, index)
    yield {
      index,
      isWhole,
      isZeros: false,
      fill: async (block) => {
        const got = await file.readAt(block.subarray(0, length), index * BLOCK_SIZE)
        block.fill(0, got, length)
      },
    }
  }
}

/** A layer's. */
export async function* layerShares(layer: LayerReader, signal: AbortSignal): AsyncGenerator<Share> {
  let gathered: LayerPart[] = []
  for await (const part of layer.parts(signal)) {
    const [first] = gathered
    if (first && indexOf(part) !== indexOf(first)) {
      yield layerShare(layer, gathered, indexOf(first))
      gathered = []
    }
    gathered.push(part)
  }
  const [first] = gathered
  if (first) yield layerShare(layer, gathered, indexOf(first))
}

const indexOf = ({ offset }: LayerPart) => Math.floor(offset / BLOCK_SIZE)

function layerShare(layer: LayerReader, parts: readonly LayerPart[], index: number): Share {
  const covered = parts.reduce((sum, { length }) => sum + length, 0)
  return {
    index,
    isWhole: covered === blockLength(layer.size, index),
    isZeros: parts.every(({ hostOffset }) => hostOffset === undefined),
    async fill(block) {
      for (const { offset, length, hostOffset } of parts) {
        const start = offset - index * BLOCK_SIZE
        const target = block.subarray(start, start + length)
        if (hostOffset === undefined) target.fill(0)
        else await layer.readAt(target, hostOffset)
      }
    },
  }
}

/**
 * Brings together what is seen of each block; blocks of which nobody has anything are left out, and are zeros.
 * @param strata the shares of base and layers, lowest first, each ascending
 */
export async function* alignShares(
  strata: readonly (AsyncIterable<Share> | Iterable<Share>)[],
): AsyncGenerator<SeenBlock> {
  const iterators = strata.map(iteratorOf)
  try {
    const heads = await Promise.all(iterators.map(next))
    for (;;) {
      const index = Math.min(...heads.map((head) => head?.index ?? Number.POSITIVE_INFINITY))
      if (index === Number.POSITIVE_INFINITY) return
      const shares = heads.filter((head): head is Share => head?.index === index)
      const lowest = shares.findLastIndex((share) => share.isWhole)
      yield { index, shares: shares.slice(Math.max(0, lowest)) }
      for (const [place, iterator] of iterators.entries()) {
        if (heads[place]?.index === index) heads[place] = await next(iterator)
      }
    }
  } finally {
    for (const iterator of iterators) await iterator.return?.()
  }
}

type ShareIterator = AsyncIterator<Share> | Iterator<Share>

const iteratorOf = (shares: AsyncIterable<Share> | Iterable<Share>): ShareIterator =>
  Symbol.asyncIterator in shares ? shares[Symbol.asyncIterator]() : shares[Symbol.iterator]()

async function next(iterator: ShareIterator): Promise<Share | undefined> {
  const { done, value } = await iterator.next()
  return done ? undefined : value
}
