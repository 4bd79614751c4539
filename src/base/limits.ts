import { GiB, MiB, TiB } from './bytes.ts'

/** What a stranger's image may cost; see docs/design.md "Limits". Sizes in bytes, times in milliseconds. */
export interface ImportLimits {
  /** The virtual disk, and decoded raw. */
  readonly virtualSize: number
  /** Bytes received from the source. */
  readonly sourceSize: number
  /** An xz block's dictionary. */
  readonly xzDictionary: number
  /** A zstd frame's window. */
  readonly zstdWindow: number
  readonly connectMs: number
  readonly headersMs: number
  /** Longest time without a byte. */
  readonly silenceMs: number
  /** The slowest average accepted over `slowWindowMs`, bytes per second. */
  readonly slowRate: number
  readonly slowWindowMs: number
  /** The whole import. */
  readonly totalMs: number
  readonly redirects: number
  /** Dropped connections that are taken up again, each only while the one before brought bytes. */
  readonly resumes: number
}

export const DEFAULT_LIMITS: ImportLimits = {
  virtualSize: 2 * TiB,
  sourceSize: 200 * GiB,
  xzDictionary: 64 * MiB,
  zstdWindow: 128 * MiB,
  connectMs: 10_000,
  headersMs: 30_000,
  silenceMs: 60_000,
  slowRate: 64 * 1024,
  slowWindowMs: 300_000,
  totalMs: 6 * 3600_000,
  redirects: 5,
  resumes: 20,
}
