import { LibraryError } from '#base/errors.ts'
import type { Lane } from './lane.ts'

/** Bytes in the memory that the threads share. */
interface Place {
  readonly address: number
  readonly length: number
}

export interface RunningMd5Parts {
  /** A number that no other has. */
  readonly nextStream: () => number
  readonly pickLane: () => Lane
}

/** One place in the order of bytes. */
export interface Md5Turn extends Disposable {
  /** To be called once; the bytes must not change until it resolves. */
  update(place: Place): Promise<void>
}

/** The MD5 of bytes that come in order. Its state stays in the thread where it was begun. */
export class RunningMd5 implements Disposable {
  readonly #parts: RunningMd5Parts
  readonly #stream: number
  #lastTurn = Promise.resolve()
  #home: { readonly lane: Lane; readonly life: number } | undefined

  constructor(parts: RunningMd5Parts) {
    this.#parts = parts
    this.#stream = parts.nextStream()
  }

  /** Takes the next place in the order of bytes; those behind it wait until it is used or disposed of. */
  turn(): Md5Turn {
    const before = this.#lastTurn
    const over = Promise.withResolvers<void>()
    this.#lastTurn = over.promise
    return {
      update: async (place) => {
        await before
        const done = this.#lane().run({ kind: 'md5-update', stream: this.#stream, ...place })
        over.resolve()
        await done
      },
      [Symbol.dispose]: over.resolve,
    }
  }

  /**
   * 32 hex digits: of all bytes so far.
   * @throws unavailable where the thread that held the state has died
   */
  async digest(): Promise<string> {
    return (await this.#lane().run({ kind: 'md5-digest', stream: this.#stream })) as string
  }

  /** Another of the same bytes, which goes its own way. */
  fork(): RunningMd5 {
    const forked = new RunningMd5(this.#parts)
    if (this.#home) {
      this.#lane().tell({ kind: 'md5-fork', stream: forked.#stream, from: this.#stream })
      forked.#home = this.#home
    }
    return forked
  }

  #lane(): Lane {
    if (!this.#home) {
      const lane = this.#parts.pickLane()
      this.#home = { lane, life: lane.life }
    }
    const { lane, life } = this.#home
    if (life === lane.life) return lane
    throw new LibraryError('unavailable', 'hash bytes: the thread that did it has ended')
  }

  [Symbol.dispose](): void {
    if (this.#home?.life === this.#home?.lane.life)
      this.#home?.lane.tell({ kind: 'md5-forget', stream: this.#stream })
  }
}
