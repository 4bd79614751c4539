/** A statement may have only so many parameters. */
const IDS_MAX = 500

/** Reads what belongs to any of many ids, some of them at a time; oldest first. */
export async function readMany<T extends { readonly id: string; readonly createdAt: number }>(
  ids: readonly string[],
  read: (some: readonly string[]) => Promise<readonly T[]>,
): Promise<T[]> {
  const found: T[] = []
  for (let index = 0; index < ids.length; index += IDS_MAX) {
    found.push(...(await read(ids.slice(index, index + IDS_MAX))))
  }
  return found.sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
}
