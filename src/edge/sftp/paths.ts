/** Where a path leads: names come apart at slashes only, so that `a/b` of a container is one object's name. */
export type Place =
  | { readonly kind: 'root' }
  | { readonly kind: 'container'; readonly container: string }
  | { readonly kind: 'inside'; readonly container: string; readonly name: string }

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The place that a client's path leads to. `.`, `..` and empty names are resolved here, from the root, and never go
 * above it: objects with such names cannot be reached.
 * @returns undefined where the path is no name that anything here could have: not UTF-8, or with NUL
 */
export function parsePath(path: Uint8Array): Place | undefined {
  const names = resolvePath(path)
  if (names === undefined) return undefined
  const [container, ...rest] = names
  if (container === undefined) return { kind: 'root' }
  if (rest.length === 0) return { kind: 'container', container }
  return { kind: 'inside', container, name: rest.join('/') }
}

function resolvePath(path: Uint8Array): string[] | undefined {
  let text: string
  try {
    text = UTF8.decode(path)
  } catch {
    return undefined
  }
  if (text.includes('\0')) return undefined
  const names: string[] = []
  for (const name of text.split('/')) {
    if (name === '..') names.pop()
    else if (name !== '' && name !== '.') names.push(name)
  }
  return names
}

/** The path of a place, from the root. */
export function printPlace(place: Place): string {
  if (place.kind === 'root') return '/'
  return place.kind === 'container' ? `/${place.container}` : `/${place.container}/${place.name}`
}

/** Whether a path can lead to a thing of this name: otherwise no listing shows it. */
export const isReachable = (name: string): boolean =>
  name !== '' && name !== '.' && name !== '..' && !name.includes('/')

/** Whether the path says that it means a directory. */
export const endsInSlash = (path: Uint8Array): boolean => path.length > 1 && path.at(-1) === 0x2f
