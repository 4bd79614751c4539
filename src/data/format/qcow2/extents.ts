import { MiB } from '#base/bytes.ts'
import type { Qcow2Compression } from './header.ts'

/** Data of the disk that lies in the file as it is. */
export interface PlainExtent {
  readonly kind: 'plain'
  /** On the virtual disk. */
  readonly offset: number
  readonly length: number
  /** In the file; all of `length` bytes must be there. */
  readonly hostOffset: number
}

/** One compressed cluster. */
export interface CompressedExtent {
  readonly kind: 'compressed'
  /** On the virtual disk, a multiple of the cluster size. */
  readonly offset: number
  /** What the disk shows of it: a cluster, or less at the disk's end. It decodes to a whole cluster all the same. */
  readonly length: number
  /** In the file, not aligned. */
  readonly hostOffset: number
  /** The most bytes the stream may take. The file may end sooner, which is no error in itself. */
  readonly hostLength: number
  readonly compression: Qcow2Compression
}

/** A part of the disk that may hold something else than zeros; plain values, fit for another thread. */
export type Qcow2Extent = PlainExtent | CompressedExtent

/** Plain extents end here at the latest, on the virtual disk. */
const BORDER = MiB

/** Collects extents in ascending order and joins plain ones that follow each other on the disk and in the file. */
export class ExtentQueue {
  #ready: Qcow2Extent[] = []
  #offset = 0
  #length = 0
  #hostOffset = 0

  plain(offset: number, length: number, hostOffset: number): void {
    for (let done = 0; done < length; ) {
      const at = offset + done
      const part = Math.min(length - done, BORDER - (at % BORDER))
      const follows =
        at === this.#offset + this.#length && hostOffset + done === this.#hostOffset + this.#length
      if (!follows || at % BORDER === 0) {
        this.#flush()
        this.#offset = at
        this.#hostOffset = hostOffset + done
      }
      this.#length += part
      done += part
    }
  }

  compressed(extent: CompressedExtent): void {
    this.#flush()
    this.#ready.push(extent)
  }

  /** Takes what is complete. */
  take(): Qcow2Extent[] {
    const ready = this.#ready
    this.#ready = []
    return ready
  }

  /** Takes all. */
  takeLast(): Qcow2Extent[] {
    this.#flush()
    return this.take()
  }

  #flush(): void {
    if (this.#length === 0) return
    const place = { offset: this.#offset, length: this.#length, hostOffset: this.#hostOffset }
    this.#ready.push({ kind: 'plain', ...place })
    this.#length = 0
  }
}
