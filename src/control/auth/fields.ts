import { LibraryError } from '#base/errors.ts'

const TEXT_MAX = 255
const SSH_KEY_MAX = 16_384
const PASSWORD_MIN = 10
/** Longer ones only cost time. */
const PASSWORD_MAX = 1024

/** Error messages use the fields' names as the API has them. */
function invalid(field: string, rule: string): LibraryError {
  return new LibraryError('invalid', `${field} ${rule}`)
}

export function readText(field: string, value: string, { required }: { required: boolean }): string {
  if (required && value.trim() === '') throw invalid(field, 'must not be empty')
  if (value.length > TEXT_MAX) throw invalid(field, `must be at most ${TEXT_MAX} characters`)
  if (/[\p{Cc}\p{Cs}]/u.test(value)) throw invalid(field, 'must not hold control characters')
  // Embeddings, overrides and isolates (UAX #9 §2) make a text look like another one.
  if (/[\u202a-\u202e\u2066-\u2069]/u.test(value))
    throw invalid(field, 'must not hold characters that turn the direction of text')
  return value
}

export function readOptionalText(field: string, value: string | null | undefined): string | null {
  if (value === null || value === undefined || value === '') return null
  return readText(field, value, { required: false })
}

export function readEmail(value: string): string {
  const email = readText('email_address', value, { required: true }).toLowerCase()
  if (!/^[^\s@]+@[^\s@]+$/.test(email)) throw invalid('email_address', 'must look like name@host')
  return email
}

export function readPassword(value: string): string {
  if (value.length >= PASSWORD_MIN && value.length <= PASSWORD_MAX) return value
  throw invalid('password', `must have ${PASSWORD_MIN} to ${PASSWORD_MAX} characters`)
}

export function readSshKey(value: string | null): string | null {
  if (value === null || value === '') return null
  if (value.length > SSH_KEY_MAX) throw invalid('ssh_key', `must be at most ${SSH_KEY_MAX} characters`)
  const lines = value.split(/\r?\n/).filter((line) => line.trim() !== '')
  if (lines.every((line) => /^[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\p{Cc}]*)?$/u.test(line))) return value
  throw invalid('ssh_key', 'must be a public key as in ~/.ssh/id_ed25519.pub, one a line')
}

export function readPermissions(value: string): 'full' | 'storage' {
  if (value === 'full' || value === 'storage') return value
  throw invalid('permissions_group', 'must be full or storage')
}
