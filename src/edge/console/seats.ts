import { LibraryError } from '#base/errors.ts'

/** Counts who is attached, so that nobody takes all there is. Each function returns one that gives the place back. */
export interface Seats {
  /** @throws unavailable where too many are attached to anything */
  take(): () => void
  /** @throws conflict where too many are attached to this server; ask only for whoever may know about it */
  takeOf(id: string): () => void
}

export function createSeats(most: { readonly all: number; readonly ofOne: number }): Seats {
  const taken = new Map<string, number>()
  let all = 0
  return {
    take() {
      if (all >= most.all) throw new LibraryError('unavailable', 'too many consoles are attached to')
      all++
      return () => {
        all--
      }
    },
    takeOf(id) {
      const before = taken.get(id) ?? 0
      if (before >= most.ofOne) {
        throw new LibraryError(
          'conflict',
          `${most.ofOne} clients are attached to the consoles of server ${id}`,
          {
            hint: 'Detach one of them first.',
          },
        )
      }
      taken.set(id, before + 1)
      return () => {
        const left = (taken.get(id) ?? 1) - 1
        if (left > 0) taken.set(id, left)
        else taken.delete(id)
      }
    },
  }
}
