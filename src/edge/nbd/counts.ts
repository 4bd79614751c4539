/** Counts of who is there, by name, each up to `most`. */
export function createCounts(most: number) {
  const counts = new Map<string, number>()
  return {
    /** @returns whether there was room; then disposing of `visit` ends it */
    enter(name: string, visit: DisposableStack): boolean {
      const count = counts.get(name) ?? 0
      if (count >= most) return false
      counts.set(name, count + 1)
      visit.defer(() => {
        const left = (counts.get(name) ?? 1) - 1
        if (left > 0) counts.set(name, left)
        else counts.delete(name)
      })
      return true
    },
  }
}
