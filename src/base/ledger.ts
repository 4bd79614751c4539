/** An amount that is promised to work under way, until disposed of. */
export interface Promised extends Disposable {
  readonly amount: number
  /** What it comes to from now on; nothing once it is disposed of. */
  set(amount: number): void
}

/**
 * What was promised and is not there yet, by what it counts against: an account, a container, a file system. Of one
 * process: whoever looks and takes does both without waiting in between, or in one transaction.
 */
export class Ledger {
  readonly #sums = new Map<string, number>()

  sum(key: string): number {
    return this.#sums.get(key) ?? 0
  }

  /** @param keys all that it counts against */
  take(keys: readonly string[], amount = 0): Promised {
    let held = 0
    let isOver = false
    const set = (wanted: number) => {
      if (isOver) return
      for (const key of keys) this.#add(key, wanted - held)
      held = wanted
    }
    set(amount)
    return {
      get amount() {
        return held
      },
      set,
      [Symbol.dispose]() {
        set(0)
        isOver = true
      },
    }
  }

  #add(key: string, amount: number): void {
    const sum = this.sum(key) + amount
    if (sum === 0) this.#sums.delete(key)
    else this.#sums.set(key, sum)
  }
}
