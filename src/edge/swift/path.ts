/** What an address of Orbit names; a container is there where an object is. */
export interface SwiftPath {
  /** The whole, decoded once: what temporary URLs sign. */
  readonly full: string
  readonly account: string
  readonly container: string | undefined
  readonly object: string | undefined
}

/** Why an address names nothing: `text` with status 412. */
export interface BadPath {
  readonly bad: string
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Splits `/v1/account/container/object`. Nothing in names is special but the first two slashes behind the account.
 * @param raw path of the request line, one character a byte
 */
export function parsePath(raw: string): SwiftPath | BadPath {
  const full = decode(raw)
  if (full === undefined) return { bad: 'Invalid UTF8 or contains NULL' }
  const [, , account = '', container = '', ...rest] = full.split('/')
  const object = rest.join('/')
  if (account === '' || (container === '' && object !== '')) return { bad: 'Bad URL' }
  return { full, account, container: container || undefined, object: object || undefined }
}

/** @returns undefined for what is not UTF-8 or has a NUL */
function decode(raw: string): string | undefined {
  const text = decodePercent(raw)
  return text === undefined || text.includes('\0') ? undefined : text
}

/**
 * Decodes percent-encoded UTF-8; a percent sign that encodes nothing stands for itself.
 * @param raw one character a byte
 * @returns undefined for what is not UTF-8
 */
export function decodePercent(raw: string): string | undefined {
  if (!/[\x80-\xff]/.test(raw)) {
    if (!raw.includes('%')) return raw
    try {
      return decodeURIComponent(raw)
    } catch {
      // A percent sign on its own; or no UTF-8, which the slow way finds out.
    }
  }
  const bytes = raw.replace(/%([\da-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  try {
    return UTF8.decode(Buffer.from(bytes, 'latin1'))
  } catch {
    return undefined
  }
}

/** Percent-encodes a name as Python's `quote` does: letters, digits, `_.-~/` stay. */
export const encodePath = (name: string): string =>
  encodeURIComponent(name)
    .replaceAll('%2F', '/')
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

/** Parameters by name, the last one of a name; undefined in place of what is not UTF-8. */
export type Query = ReadonlyMap<string, string | undefined>

/** Reads a query string as HTML forms write it. */
export function parseQuery(raw: string): Query {
  const query = new Map<string, string | undefined>()
  for (const pair of raw.split('&')) {
    if (pair === '') continue
    const at = pair.indexOf('=')
    const name = decodePercent((at < 0 ? pair : pair.slice(0, at)).replaceAll('+', ' '))
    if (name !== undefined)
      query.set(name, at < 0 ? '' : decodePercent(pair.slice(at + 1).replaceAll('+', ' ')))
  }
  return query
}
