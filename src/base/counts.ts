/** Counts of who is there, by name. */
export interface Counts {
  /** @returns what ends the visit, once however often it is disposed of; undefined where there is no room */
  enter(name: string): Disposable | undefined
}

/** @param most how many may be there under one name */
export function createCounts(most: number): Counts {
  const counts = new Map<string, number>()
  return {
    enter(name) {
      const count = counts.get(name) ?? 0
      if (count >= most) return undefined
      counts.set(name, count + 1)
      const visit = new DisposableStack()
      visit.defer(() => {
        const left = (counts.get(name) ?? 1) - 1
        if (left > 0) counts.set(name, left)
        // A name that nobody has any more takes no memory.
        else counts.delete(name)
      })
      return visit
    },
  }
}
