/**
 * A disk that is offered over NBD, read-only. Readers come at the same time from several connections; all wait for the
 * signal, and give `corrupt`, `not_found` and `unavailable` as the store does.
 */
export interface ExportedDisk extends AsyncDisposable {
  /** Bytes. */
  readonly size: number
  /** Parts of the range in order, each of at most 1 MiB, valid until the next one is asked for. */
  read(offset: number, length: number, signal: AbortSignal): AsyncIterable<Uint8Array>
  /** The range in order, cut where data and zeros meet; at most `most` parts, which may not reach the range's end. */
  status(offset: number, length: number, most: number, signal: AbortSignal): Promise<readonly DiskPart[]>
}

export interface DiskPart {
  readonly length: number
  readonly isZero: boolean
}
