import type { Generation } from '../store.ts'
import type { S3Objects } from './objects.ts'

const FOLDER = 'generations/'
const DIGITS = 15
const FIRST = 1
/** So long what was read is good enough for a mark. */
const MARK_MS = 1000
const MARK = Uint8Array.of(1)

/**
 * The present generation of a store: the last name in a folder, so that no request which was delayed can set it back
 * (docs/decisions/0038-generations-instead-of-clocks.md).
 */
export class S3Generations {
  readonly #objects: S3Objects
  #seen: { readonly at: number; readonly generation: Promise<Generation> } | undefined

  constructor(objects: S3Objects) {
    this.#objects = objects
  }

  async present(): Promise<Generation> {
    const generation = this.#read()
    const seen = { at: performance.now(), generation }
    this.#seen = seen
    try {
      return await generation
    } catch (error) {
      if (this.#seen === seen) this.#seen = undefined
      throw error
    }
  }

  async #read(): Promise<Generation> {
    return (await this.#names()).at(-1) ?? FIRST
  }

  async #names(): Promise<Generation[]> {
    const found = await Array.fromAsync(this.#objects.list(FOLDER))
    return found.map(({ key }) => Number(key.slice(FOLDER.length))).filter(Number.isSafeInteger)
  }

  /**
   * What is put or claimed now is marked with. It may be a moment old: a mark saves a collection work, and what was
   * removed in spite of a newer one can be read and is put back.
   */
  async mark(): Promise<Generation> {
    const seen = this.#seen
    if (!seen || performance.now() - seen.at > MARK_MS) return await this.present()
    return await seen.generation
  }

  async next(): Promise<Generation> {
    const before = await this.#names()
    const next = (before.at(-1) ?? FIRST) + 1
    await this.#objects.put(FOLDER + String(next).padStart(DIGITS, '0'), MARK, next)
    for (const old of before) await this.#objects.delete(FOLDER + String(old).padStart(DIGITS, '0'))
    this.#seen = { at: performance.now(), generation: Promise.resolve(next) }
    return next
  }
}
