import { MiB } from '#base/bytes.ts'
import type { LayerPart } from './volume.ts'

/** No part crosses a multiple of this on the disk. */
const BORDER = MiB

/** Joins what clusters say, in ascending order: data that follow each other on the disk and in the file, and zeros. */
export class LayerParts {
  #ready: LayerPart[] = []
  #last: LayerPart | undefined

  /** @param length not across a border */
  add(offset: number, length: number, hostOffset: number | undefined): void {
    const last = this.#last
    if (last && offset % BORDER !== 0 && offset === last.offset + last.length) {
      const follows = last.hostOffset === undefined ? undefined : last.hostOffset + last.length
      if (follows === hostOffset) {
        this.#last = { ...last, length: last.length + length }
        return
      }
    }
    if (last) this.#ready.push(last)
    this.#last = { offset, length, hostOffset }
  }

  /** Takes what is complete. */
  take(): LayerPart[] {
    const ready = this.#ready
    this.#ready = []
    return ready
  }

  /** Takes all. */
  takeLast(): LayerPart[] {
    if (this.#last) this.#ready.push(this.#last)
    this.#last = undefined
    return this.take()
  }
}
