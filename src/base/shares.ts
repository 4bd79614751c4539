import { LibraryError } from './errors.ts'

/** Too much of one kind goes on at once: nothing is wrong with what was asked for, and it can be asked for again. */
export class Busy extends LibraryError {
  constructor(message: string) {
    super('unavailable', message, { hint: 'Try again in a few seconds, with less at once.' })
    this.name = 'Busy'
  }
}

/** What one who shares has, until it is disposed of. */
export interface Share extends Disposable {
  /** @throws Busy where there is not enough left for him */
  add(amount: number): void
}

export interface SharesOptions {
  readonly total: number
  /** Told to who gets no more, such as "too many uploads are under way". */
  readonly busy: string
}

/**
 * An amount that many share, by name: nobody has more than he leaves to others. So the first may have half of it, a
 * second half of the rest, and who comes last finds something, however much the others ask for.
 */
export class Shares {
  readonly #held = new Map<string, number>()
  readonly #busy: string
  #left: number

  constructor({ total, busy }: SharesOptions) {
    this.#left = total
    this.#busy = busy
  }

  enter(name: string): Share {
    let mine = 0
    return {
      add: (amount) => {
        const held = (this.#held.get(name) ?? 0) + amount
        if (held > this.#left - amount) throw new Busy(this.#busy)
        this.#set(name, held)
        this.#left -= amount
        mine += amount
      },
      [Symbol.dispose]: () => {
        this.#set(name, (this.#held.get(name) ?? 0) - mine)
        this.#left += mine
        mine = 0
      },
    }
  }

  #set(name: string, held: number): void {
    if (held === 0) this.#held.delete(name)
    else this.#held.set(name, held)
  }
}
