import { extname } from 'node:path/posix'
import { lookup } from 'mime-types'

const UNKNOWN = 'application/octet-stream'
/** Endings that say how a file is packed, not what it is; and those that say both. */
const PACKED = /\.(gz|bz2|xz|z|br)$/i
const BOTH: Readonly<Record<string, string>> = {
  '.tgz': '.tar',
  '.taz': '.tar',
  '.tz': '.tar',
  '.tbz2': '.tar',
  '.txz': '.tar',
  '.svgz': '.svg',
}

/** Where Swift's table has another name for a type. */
const SWIFTS: Readonly<Record<string, string>> = { '.wav': 'audio/x-wav' }

/** A type by the ending of a name, as Swift guesses it. */
export function guessContentType(name: string): string {
  const last = extname(name).toLowerCase()
  const ending = BOTH[last] ?? extname(name.replace(PACKED, '')).toLowerCase()
  return SWIFTS[ending] ?? ((ending && lookup(ending)) || UNKNOWN)
}
