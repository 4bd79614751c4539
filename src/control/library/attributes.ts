import { LibraryError } from '#base/errors.ts'
import type { Arch } from '#model/image.ts'
import type { RegisterAttributes, UpdateAttributes } from './library.ts'

const NAME_MAX = 255
const DESCRIPTION_MAX = 4096
const USERNAME_MAX = 64
/** MiB: 16 TiB, more than any machine has. */
const MIN_RAM_MAX = 16 * 1024 * 1024

/** Error messages use the fields' names as the API has them, for that is where people meet them. */
export function invalid(field: string, rule: string): LibraryError {
  return new LibraryError('invalid', `${field} ${rule}`)
}

export function readArch(value: unknown): Arch {
  if (value === 'x86_64' || value === 'i686') return value
  throw invalid('arch', 'must be x86_64 or i686')
}

/** @returns null where it is absent or empty */
function readText(field: string, value: string | null | undefined, lengthMax: number): string | null {
  if (value === null || value === undefined || value === '') return null
  if (value.length > lengthMax)
    throw invalid(field, `must be at most ${lengthMax} characters, not ${value.length}`)
  // Line ends are fine in a description and nowhere else; other control characters play tricks on terminals.
  const allowed =
    field === 'description' ? /^[^\p{Cc}\p{Cs}]*$/u.test(value.replace(/[\r\n\t]/g, '')) : isOneLine(value)
  if (!allowed) throw invalid(field, 'must not hold control characters')
  // Letters of right-to-left scripts need none of these; they make a text look like another one.
  if (DIRECTION.test(value)) throw invalid(field, 'must not hold characters that turn the direction of text')
  return value
}

/** Embeddings, overrides and isolates (UAX #9 §2). */
const DIRECTION = /[\u202a-\u202e\u2066-\u2069]/u

const isOneLine = (value: string) => /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]*$/u.test(value)

export const readName = (value: string | null | undefined) => readText('name', value, NAME_MAX)
export const readDescription = (value: string | null | undefined) =>
  readText('description', value, DESCRIPTION_MAX)

export function readUsername(value: string | null | undefined): string | null {
  const username = readText('username', value, USERNAME_MAX)
  if (username !== null && /[\s:]/.test(username)) throw invalid('username', 'must not hold spaces or colons')
  return username
}

/** @returns null where it is absent or 0, which the official command line sends for "not given" */
export function readMinRam(value: number | null | undefined): number | null {
  if (value === null || value === undefined || value === 0) return null
  if (Number.isInteger(value) && value > 0 && value <= MIN_RAM_MAX) return value
  throw invalid('min_ram', `must be a whole number of MiB from 0 to ${MIN_RAM_MAX}`)
}

/** @returns 64 lower-case hex digits */
export function readChecksum(value: string | null | undefined): string | undefined {
  if (value === null || value === undefined || value === '') return undefined
  const [, digits] = /^sha256:([0-9a-f]{64})$/i.exec(value) ?? []
  if (digits === undefined) throw invalid('checksum', 'must be sha256: and 64 hexadecimal digits')
  return digits.toLowerCase()
}

export function readUrl(text: string, parseSourceUrl: (text: string) => URL): URL {
  try {
    return parseSourceUrl(text)
  } catch (error) {
    if (!(error instanceof LibraryError)) throw error
    const message = `http_url ${error.message.replace(/^source URL /, '')}`
    throw new LibraryError(error.code, message, { cause: error, ...(error.hint ? { hint: error.hint } : {}) })
  }
}

/** The attributes of an image that its owner chooses, checked. */
export function readRegisterAttributes(attributes: RegisterAttributes) {
  const { httpUrl, upload = false } = attributes
  const hasUrl = httpUrl !== null && httpUrl !== undefined && httpUrl !== ''
  if (hasUrl === upload) throw invalid('http_url', 'or upload must be given, exactly one of the two')
  return {
    httpUrl: hasUrl ? httpUrl : null,
    checksum: readChecksum(attributes.checksum),
    name: readName(attributes.name),
    arch: readArch(attributes.arch),
    description: readDescription(attributes.description),
    username: readUsername(attributes.username),
    minRam: readMinRam(attributes.minRam),
    public: attributes.public ?? false,
    compatibilityMode: attributes.compatibilityMode ?? false,
  }
}

/** Only what is to change, checked. A name that is cleared becomes empty: clients insist that it is a text. */
export function readUpdateAttributes(attributes: UpdateAttributes) {
  const { name, username, description, arch, minRam, public: open, compatibilityMode, status } = attributes
  if (status !== undefined && status !== 'available' && status !== 'deprecated') {
    throw invalid('status', 'must be available or deprecated')
  }
  return {
    ...(name === undefined ? {} : { name: readName(name) ?? '' }),
    ...(username === undefined ? {} : { username: readUsername(username) }),
    ...(description === undefined ? {} : { description: readDescription(description) }),
    ...(arch === undefined ? {} : { arch: readArch(arch) }),
    ...(minRam === undefined ? {} : { minRam: readMinRam(minRam) }),
    ...(open === undefined ? {} : { public: open }),
    ...(compatibilityMode === undefined ? {} : { compatibilityMode }),
    ...(status === undefined ? {} : { status: status as 'available' | 'deprecated' }),
  }
}

/** The last part of a URL's path, as the name of a file and without parameters; null where there is none. */
export function fileNameOf(url: URL): string | null {
  const segment = url.pathname.split('/').findLast(Boolean) ?? ''
  let name = segment
  try {
    name = decodeURIComponent(segment)
  } catch {
    // Not every path is percent-encoded UTF-8; as it stands it is readable enough.
  }
  // The values of parameters may be signatures, and names are shown to everybody.
  const clean = name
    .replace(/;[^;=]*=[^;]*/g, '')
    .replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, '')
    .slice(0, 200)
  return clean === '' ? null : clean
}

/** The name of an image that was not given one: from its source and the time, to the minute, in UTC. */
export function generateName(fileName: string | null, at: number): string {
  const time = new Date(at).toISOString().slice(0, 16).replace('T', ' ')
  return `${fileName ?? 'image'} ${time}`
}
