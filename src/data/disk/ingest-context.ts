import type { Duplex } from 'node:stream'
import type { ByteStream } from '#base/bytes.ts'
import type { ImportLimits } from '#base/limits.ts'
import type { XzItem } from '#data/format/xz/split.ts'
import type { ManifestWriter } from '#data/manifest/writer.ts'
import type { Reserve } from '#data/store/reserve.ts'
import type { BlockPipeline } from './block-pipeline.ts'
import type { ProgressMeter } from './progress-meter.ts'

/** What the steps of one registration share. */
export interface IngestContext {
  readonly limits: ImportLimits
  readonly pipeline: BlockPipeline
  readonly manifest: ManifestWriter
  readonly meter: ProgressMeter
  /** Space of the store that must stay free. */
  readonly reserve: Reserve
  readonly spoolDirectory: string
  readonly signal: AbortSignal
  /** Gives a connection to a new decoder process. */
  readonly openDecoder: () => Duplex
  /** Ends whatever part of this registration still waits for something; the first reason counts. */
  readonly stop: (reason: unknown) => void
}

/** A source without its compression: its first bytes, and all of them as a stream or in blocks, whichever is used. */
export interface Layer {
  readonly head: Uint8Array
  readonly stream: ByteStream
  /** Set where whole xz blocks can be decoded side by side. */
  readonly xzItems?: AsyncIterable<XzItem>
}

/** What came out of the format's own part of the way. */
export interface IngestedDisk {
  /** Bytes. */
  readonly size: number
  readonly notes: readonly string[]
}
