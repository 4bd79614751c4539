import { createHash } from 'node:crypto'
import { LibraryError } from '#base/errors.ts'
import type { SshKey } from '#model/ssh-key.ts'

export type PublicKey = Pick<SshKey, 'type' | 'blob' | 'fingerprint'> & { readonly comment: string }

const LINE_MAX = 16_384
const RSA_BITS_MIN = 2048
const RSA_BITS_MAX = 16_384
const EXAMPLE = 'give the line in ~/.ssh/id_ed25519.pub; ssh-keygen -t ed25519 makes one'

const invalid = (what: string, hint = EXAMPLE) => new LibraryError('invalid', `key ${what}`, { hint })

/**
 * Reads the line of a public key (sshd(8) "AUTHORIZED_KEYS FILE FORMAT", without options).
 * @throws invalid for private keys, weak, unknown and damaged ones
 */
export function parsePublicKey(line: string): PublicKey {
  const text = line.trim()
  if (text.length > LINE_MAX) throw invalid(`must be at most ${LINE_MAX} characters`)
  if (/PRIVATE KEY|^PuTTY-User-Key-File/.test(text)) {
    throw invalid('is a private one, which should never leave your machine')
  }
  if (/^---- BEGIN SSH2 PUBLIC KEY/.test(text)) {
    throw invalid('must be in the form of OpenSSH', 'ssh-keygen -i -f FILE turns it into that')
  }
  const [type = '', blob = '', ...words] = text.split(/[ \t]+/)
  const comment = words.join(' ')
  if (/[\r\n]/.test(text)) throw invalid('must be one line')
  demandType(type)
  const bytes = Buffer.from(blob, 'base64')
  if (bytes.toString('base64').replace(/=+$/, '') !== blob.replace(/=+$/, '')) throw DAMAGED
  demandContent(type, bytes)
  return { type, blob: bytes.toString('base64'), fingerprint: fingerprintOf(bytes), comment }
}

/** @returns undefined where the line is no key that is let in */
export function tryPublicKey(line: string): PublicKey | undefined {
  try {
    return parsePublicKey(line)
  } catch {
    return undefined
  }
}

/** As ssh-keygen prints it: `SHA256:` and base64 without padding. */
export function fingerprintOf(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`
}

const DAMAGED = invalid('is damaged: copy the whole line')

function demandType(type: string): void {
  if (TYPES.has(type)) return
  if (type === 'ssh-dss') throw invalid('is of type DSA, which is too weak')
  if (type.includes('-cert-v01@')) throw invalid('is a certificate, which is not supported')
  throw invalid(`must begin with one of ${[...TYPES.keys()].join(', ')}`)
}

type Field = (field: Buffer) => boolean

const ofLength =
  (length: number): Field =>
  (field) =>
    field.length === length
const named =
  (name: string): Field =>
  (field) =>
    field.toString('latin1') === name
/** An uncompressed point (SEC 1 section 2.3.3). */
const point =
  (coordinate: number): Field =>
  (field) =>
    field.length === 1 + 2 * coordinate && field[0] === 4
/** Which web site or program the key of a security key is for; `ssh:` unless somebody changed it. */
const application: Field = (field) => field.length > 0 && field.length <= 255
const exponent: Field = (field) => field.length > 0 && field.length <= 8 && ((field.at(-1) ?? 0) & 1) === 1

/** What follows the type (RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709, OpenSSH's PROTOCOL.u2f). */
const TYPES: ReadonlyMap<string, readonly Field[]> = new Map([
  ['ssh-ed25519', [ofLength(32)]],
  ['ecdsa-sha2-nistp256', [named('nistp256'), point(32)]],
  ['ecdsa-sha2-nistp384', [named('nistp384'), point(48)]],
  ['ecdsa-sha2-nistp521', [named('nistp521'), point(66)]],
  ['ssh-rsa', [exponent, demandModulus]],
  ['sk-ssh-ed25519@openssh.com', [ofLength(32), application]],
  ['sk-ecdsa-sha2-nistp256@openssh.com', [named('nistp256'), point(32), application]],
])

function demandModulus(field: Buffer): boolean {
  // A number, positive, so with a zero byte before a first bit that is set.
  if ((field[0] ?? 0x80) >= 0x80) return false
  const first = field[0] === 0 ? 1 : 0
  const bits = (field.length - first) * 8 - Math.clz32(field[first] ?? 0) + 24
  if (bits < RSA_BITS_MIN) throw invalid(`has ${bits} bits; RSA keys need ${RSA_BITS_MIN}`)
  return bits <= RSA_BITS_MAX
}

function demandContent(type: string, bytes: Buffer): void {
  const [name, ...fields] = readFields(bytes)
  const rules = TYPES.get(type) ?? []
  const matches = name?.toString('latin1') === type && fields.length === rules.length
  if (!matches || !rules.every((rule, index) => rule(fields[index] ?? Buffer.alloc(0)))) throw DAMAGED
}

/** The strings of RFC 4251 section 5, one behind the other. @throws invalid */
function readFields(bytes: Buffer): Buffer[] {
  const fields: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = at + 4 <= bytes.length ? bytes.readUInt32BE(at) : Infinity
    if (at + 4 + length > bytes.length) throw DAMAGED
    fields.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return fields
}
