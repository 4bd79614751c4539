import { TEXT_MAX } from './protocol.ts'

/** Texts in one list. */
const TEXTS_MAX = 64

/** Reads what an option carries; all of it is undefined past the end. */
export class OptionReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  /** A number of 2 or 4 bytes; -1 past the end. */
  count(size: 2 | 4): number {
    if (!this.skip(size)) return -1
    return this.#bytes.readUIntBE(this.#at - size, size)
  }

  skip(length: number): boolean {
    if (length < 0 || this.#at + length > this.#bytes.length) return false
    this.#at += length
    return true
  }

  text(): string | undefined {
    const length = this.count(4)
    if (length > TEXT_MAX || !this.skip(length)) return undefined
    return this.#bytes.toString('utf8', this.#at - length, this.#at)
  }

  texts(count: number): string[] | undefined {
    if (count < 0 || count > TEXTS_MAX) return undefined
    const texts: string[] = []
    for (let left = count; left > 0; left--) {
      const text = this.text()
      if (text === undefined) return undefined
      texts.push(text)
    }
    return texts
  }
}
