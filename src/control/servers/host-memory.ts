import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'

/** How much memory the servers that run have together. */
export class HostMemory {
  readonly #bound: number | undefined
  readonly #claims = new Map<string, number>()

  /** @param bound bytes; undefined for none */
  constructor(bound: number | undefined) {
    this.#bound = bound
  }

  /** Takes memory for a server that is about to run. @throws unavailable where there is not enough */
  claim(id: string, mib: number): void {
    const others = this.#sum() - (this.#claims.get(id) ?? 0)
    if (this.#bound !== undefined && (others + mib) * MiB > this.#bound) {
      const free = Math.max(0, Math.floor(this.#bound / MiB) - others)
      throw new LibraryError(
        'unavailable',
        `the host has ${free} MiB of memory left, the server needs ${mib}`,
        {
          hint: 'It starts by itself once other servers have stopped.',
        },
      )
    }
    this.#claims.set(id, mib)
  }

  /** Counts a server that runs already. */
  count(id: string, mib: number): void {
    this.#claims.set(id, mib)
  }

  free(id: string): void {
    this.#claims.delete(id)
  }

  #sum(): number {
    let sum = 0
    for (const mib of this.#claims.values()) sum += mib
    return sum
  }
}
