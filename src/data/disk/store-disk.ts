import type { ImportLimits } from '#base/limits.ts'
import { ManifestWriter } from '#data/manifest/writer.ts'
import { connectDecoder } from '#data/native/decoder-host.ts'
import type { StoreTimes } from '#data/store/measured.ts'
import type { StorePlace } from '#data/store/open-store.ts'
import { createReserve } from '#data/store/reserve.ts'
import type { Store } from '#data/store/store.ts'
import { AddedBlocks } from './added-blocks.ts'
import { BlockPipeline } from './block-pipeline.ts'
import type { IngestContext, IngestedDisk } from './ingest-context.ts'
import type { Admit, IngestProgress } from './ingest-types.ts'
import { ProgressMeter } from './progress-meter.ts'

export interface IngestDeps {
  readonly store: Store
  readonly storePlace: StorePlace
  /** Whose temporary files the store's are. */
  readonly writer: string
  readonly spoolDirectory: string
  /** Bytes of the file system that stay free; undefined where the store decides. */
  readonly reserve: number | undefined
  /** Where decoder processes are to be had. */
  readonly decoders: string
  /** Block workers. */
  readonly threads: number
  readonly signal: AbortSignal
  readonly onProgress: (progress: IngestProgress) => void
  readonly admit?: Admit
  /** Told what the block workers asked the store for, some of it at a time. */
  readonly onStoreTimes?: (times: StoreTimes) => void
}

/** A disk in the store; sizes as an ingest's result has them. */
export interface StoredDisk {
  readonly manifest: string
  readonly dataSize: number
  readonly addedSize: number
}

/**
 * Does what every registration needs around the reading of its source: block workers, the manifest, progress. When it
 * returns, all of the disk is on stable storage.
 * @param read submits the disk's blocks, and resolves when all of them are stored
 * @throws what `read` throws, LibraryError (store trouble), or the signal's reason
 */
export async function storeDisk<T extends IngestedDisk>(
  limits: ImportLimits,
  deps: IngestDeps,
  read: (context: IngestContext) => Promise<T>,
): Promise<T & StoredDisk> {
  const { store, storePlace, writer, spoolDirectory, threads } = deps
  const stopping = new AbortController()
  const stop = (reason: unknown) => stopping.abort(reason)
  const signal = AbortSignal.any([deps.signal, stopping.signal])
  const directory = typeof storePlace === 'string' ? storePlace : spoolDirectory
  const reserve = createReserve({ directory, bytes: deps.reserve })
  reserve.demand(0)
  using meter = new ProgressMeter({ onProgress: deps.onProgress, now: () => performance.now() })
  await using manifest = new ManifestWriter({ directory: spoolDirectory })
  const added = new AddedBlocks()
  await using pipeline = new BlockPipeline({
    threads,
    storePlace,
    writer,
    reserve: deps.reserve,
    xzDictionary: limits.xzDictionary,
    decoders: deps.decoders,
    onFinished: ({ blocks, decoded }) => {
      meter.decoded += decoded
      for (const { index, digest, storedLength, length, known } of blocks) {
        manifest.set(index, digest, storedLength).catch(stop)
        meter.dataSize += length
        if (!known) added.add(digest, storedLength)
      }
    },
    onStoreTimes: deps.onStoreTimes,
    onFailure: stop,
  })
  signal.addEventListener('abort', () => pipeline.fail(signal.reason), { once: true })
  try {
    const disk = await read({
      ...{ limits, pipeline, manifest, meter, reserve, spoolDirectory, signal, stop },
      openDecoder: () => connectDecoder(deps.decoders),
    })
    meter.enter('saving')
    const { digest } = await manifest.finish(store.manifests, disk.size)
    await store.sync()
    return { ...disk, manifest: digest, dataSize: meter.dataSize, addedSize: added.size }
  } catch (error) {
    // One fault makes others in its wake; the first one is the reason.
    stop(error)
    throw signal.reason
  }
}
