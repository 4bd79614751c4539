import type { ShownAttributes } from './attributes.ts'
import type { Files, ListedName } from './files.ts'
import { secondsOf } from './files.ts'
import { isReachable } from './paths.ts'

export interface DirectoryEntry {
  readonly name: string
  readonly attributes: ShownAttributes
}

/** The account's containers, page by page. */
export async function* listRoot(files: Files): AsyncGenerator<readonly DirectoryEntry[]> {
  let marker: string | undefined = ''
  while (marker !== undefined) {
    const { rows, next } = await files.listContainers(marker)
    yield rows
      .filter(({ name }) => isReachable(name))
      .map(({ name, modifiedAt }) => ({
        name,
        attributes: { kind: 'directory', mtime: secondsOf(modifiedAt) },
      }))
    marker = next
  }
}

/** What is directly below a prefix, each name once, page by page. */
export async function* listPrefix(
  files: Files,
  container: string,
  prefix: string,
): AsyncGenerator<readonly DirectoryEntry[]> {
  const merge = new NameMerge()
  let marker: string | undefined = ''
  while (marker !== undefined) {
    const { rows, next } = await files.list(container, prefix, marker)
    const merged = rows.flatMap((row) => merge.push(row))
    if (next === undefined) merged.push(...merge.end())
    yield merged.flatMap((row) => toEntry(row, prefix))
    marker = next
  }
}

function toEntry(row: ListedName, prefix: string): DirectoryEntry[] {
  const name = row.name.slice(prefix.length)
  if (!isReachable(name)) return []
  const { mtime } = row
  const attributes: ShownAttributes =
    row.kind === 'file' ? { kind: 'file', size: row.size, mtime } : { kind: 'directory', mtime }
  return [{ name, attributes }]
}

/**
 * An object `x`, a marker of that name and a directory `x/` are one name to a client, the directory; but in the order
 * of bytes there may be any number of names between them, `x-1` and `x.txt`. Rows are therefore held back while their
 * directory can still come: these are beginnings of the newest row, so never many.
 */
class NameMerge {
  #held: ListedName[] = []

  /** @returns rows that nothing can be merged with any more */
  push(row: ListedName): ListedName[] {
    const released: ListedName[] = []
    this.#held = this.#held.filter((held) => {
      const isSame = row.kind === 'subdir' && row.name === held.name
      const isBefore = row.name.startsWith(held.name) && (row.name[held.name.length] ?? '/') < '/'
      if (!isSame && !isBefore) released.push(held)
      return isBefore && !isSame
    })
    if (row.kind === 'subdir') released.push(row)
    else this.#held.push(row)
    return released
  }

  end(): ListedName[] {
    return this.#held.splice(0)
  }
}
