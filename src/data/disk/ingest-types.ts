import type { Part } from '#base/content.ts'
import type { ImportLimits } from '#base/limits.ts'
import type { StoreTimes } from '#data/store/measured.ts'

/** Where an image's bytes are to come from. */
export type IngestSource = { readonly kind: 'http'; readonly url: string } | OwnSource | VolumeSource

/** An object of our own Orbit, or an upload; whoever names it keeps its manifests from collection. */
export interface OwnSource {
  readonly kind: 'parts'
  /** None of them broken. */
  readonly parts: readonly Part[]
  /** The manifest of just these bytes, on stable storage, where there is one: a raw disk is then not read. */
  readonly disk: string | undefined
  /** Where the object is, fit to be shown. */
  readonly url: string | undefined
  readonly etag: string | undefined
  readonly lastModified: string | undefined
}

/**
 * A server's disk at one moment: nothing of it changes while it is read. Blocks that no layer has anything of are those
 * of the base; where that is a manifest, they are not read.
 */
export interface VolumeSource {
  readonly kind: 'volume'
  /** Bytes of the disk; the base may be shorter, and is zeros from its end on. */
  readonly size: number
  readonly base: { readonly manifest: string } | { readonly file: string }
  /** Paths of layers, lowest first; files that this library gave to QEMU. */
  readonly layers: readonly string[]
  /** Bytes that may be in blocks that are not all zeros. */
  readonly dataLimit: number
}

export interface IngestRequest {
  readonly source: IngestSource
  /** What the received bytes must hash to: 64 hex digits; a difference is refused as `checksum`. */
  readonly expectedSha256?: string
  readonly limits: ImportLimits
  /** Address ranges, CIDR, that sources may lie in although they are private. */
  readonly allowSource: readonly string[]
}

/**
 * connecting: nothing received yet; receiving: bytes arrive and are decoded as they do; decoding: all arrived, some
 * still to decode; saving: decoded, being put on stable storage.
 */
export type IngestPhase = 'connecting' | 'receiving' | 'decoding' | 'saving'

export interface IngestProgress {
  readonly phase: IngestPhase
  /** Source bytes received, and in all where the source says. */
  readonly received: number
  readonly total: number | undefined
  /** Bytes per second over the last seconds. */
  readonly rate: number
  /** Bytes of the disk that are cut and stored, its size where known, and those of them that are not zero. */
  readonly decoded: number
  readonly virtualSize: number | undefined
  readonly dataSize: number
}

export interface IngestResult {
  /** The manifest's digest: 64 hex digits. */
  readonly manifest: string
  readonly virtualSize: number
  /** Bytes of the disk in blocks that are not all zeros. */
  readonly dataSize: number
  /** Bytes of blocks that this registration added to the store. */
  readonly addedSize: number
  /** Innermost last: `raw`, `qcow2`, `xz+raw`, `gzip+qcow2`; `volume` for a server's disk. */
  readonly formatChain: string
  /** Things a user may want to know, one sentence each: "was not closed cleanly", "looks like an ISO 9660". */
  readonly notes: readonly string[]
  readonly source: {
    readonly url: string | undefined
    readonly finalUrl: string | undefined
    readonly bytes: number
    /** Undefined where the bytes were not read, for they became the image as they lay in the store. */
    readonly sha256: string | undefined
    readonly etag: string | undefined
    readonly lastModified: string | undefined
  }
}

/**
 * Turns a source into stored blocks and a manifest, all of it on stable storage when it returns.
 * @throws Refusal, SourceFailure, LibraryError (store trouble), or the signal's reason
 */
export type Ingest = (
  request: IngestRequest,
  options: {
    readonly onProgress: (progress: IngestProgress) => void
    readonly admit?: Admit
    /** Told what the store was asked for, some of it at a time. */
    readonly onStoreTimes?: (times: StoreTimes) => void
    readonly signal: AbortSignal
  },
) => Promise<IngestResult>

/**
 * Asked once, before the bytes of a source come: resolves where they may; what it throws ends the registration.
 * @param bytes as the source announces them, undefined where it does not; of a volume, those of its layers
 */
export type Admit = (bytes: number | undefined) => Promise<void>
