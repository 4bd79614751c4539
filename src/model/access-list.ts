import { trimBoth } from '#base/trim.ts'

/** What an access list of a container lets in: Swift's grammar, ".r:*,.rlistings,acc-xxxxx:cli-yyyyy". */
export interface AccessList {
  /** What `.r:` items say, in their order: `*`, `host`, `.domain`, each with `-` before it where it keeps out. */
  readonly referrers: readonly string[]
  /** Whoever gets in by a referrer may list the container too. */
  readonly listings: boolean
  readonly groups: readonly string[]
}

export type CleanedAccessList =
  | { readonly ok: true; readonly text: string }
  /** Why it is none, in Swift's words. */
  | { readonly ok: false; readonly problem: string }

const REFERRER_WORDS = ['.r', '.ref', '.referer', '.referrer']

/** Brings an access list, one character a byte, into the form that is stored; cleaning it again changes nothing. */
export function cleanAccessList(kind: 'read' | 'write', text: string): CleanedAccessList {
  const items: string[] = []
  for (const raw of text.split(',').map(trim)) {
    if (raw === '') continue
    const cleaned = raw.startsWith('.') && raw.includes(':') ? cleanDesignation(kind, raw) : raw
    if (typeof cleaned !== 'string') return { ok: false, problem: cleaned.problem }
    items.push(cleaned)
  }
  return { ok: true, text: items.join(',') }
}

function cleanDesignation(kind: 'read' | 'write', raw: string): string | { readonly problem: string } {
  const colon = raw.indexOf(':')
  const word = trim(raw.slice(0, colon))
  if (!REFERRER_WORDS.includes(word)) {
    return { problem: `Unknown designator ${quote(word)} in ACL: ${quote(raw)}` }
  }
  if (kind === 'write') return { problem: `Referrers not allowed in write ACL: ${quote(raw)}` }
  let host = trim(raw.slice(colon + 1))
  const minus = host.startsWith('-') ? '-' : ''
  if (minus) host = trim(host.slice(1))
  while (host !== '*' && host.startsWith('*')) host = trim(host.slice(1))
  if (host === '' || host === '.') {
    return { problem: `No host/domain value after referrer designation in ACL: ${quote(raw)}` }
  }
  return `.r:${minus}${host}`
}

/** Reads a list that was cleaned. */
export function parseAccessList(text: string): AccessList {
  const items = text.split(',')
  const referrers = items.filter((item) => item.startsWith('.r:')).map((item) => item.slice(3))
  const groups = items.filter((item) => item !== '' && !item.startsWith('.r:')).map(percentDecode)
  return { referrers, listings: groups.includes('.rlistings'), groups }
}

/**
 * Whether the list's `.r:` items let in who comes from there; the last one that fits decides, and nobody fits none.
 * @param referrer host of the Referer header
 */
export function admitsReferrer({ referrers }: AccessList, referrer: string | undefined): boolean {
  const host = (referrer || 'unknown').toLowerCase()
  let admitted = false
  for (const item of referrers) {
    const minus = item.startsWith('-')
    const pattern = (minus ? item.slice(1) : item).toLowerCase()
    if (pattern === host || (pattern.startsWith('.') && host.endsWith(pattern))) admitted = !minus
    else if (pattern === '*' && !minus) admitted = true
  }
  return admitted
}

/** Whether the list names one of the groups. */
export function admitsGroup(list: AccessList, groups: readonly string[]): boolean {
  return groups.some((group) => list.groups.includes(group))
}

/** Not String.trim: what that takes for space may be a byte of a letter. */
const trim = (text: string): string => trimBoth(text, ' \t\r\n\v\f')

/** As Python prints a text: clients know the messages so. */
const quote = (text: string): string =>
  text.includes("'") && !text.includes('"') ? `"${text}"` : `'${text.replaceAll("'", "\\'")}'`

/** Byte by byte, and what is no escape as it is: any text is a group's name. */
const percentDecode = (text: string): string =>
  text.replace(/%([0-9a-fA-F]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
