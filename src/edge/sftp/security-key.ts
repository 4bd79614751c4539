import { createHash, createPublicKey, verify } from 'node:crypto'

/** Somebody touched the key. */
const USER_PRESENT = 1
/** Flags and a counter stand behind the signature itself. */
const TAIL = 5
const COORDINATE = 32

/**
 * Whether a security key (FIDO; OpenSSH's PROTOCOL.u2f, "SSH U2F signatures") signed something while its owner touched
 * it; undefined where the key is of another kind.
 * @param key as SSH sends it
 * @param signature what follows its type: the signature, flags and counter
 */
export function isSignedBySecurityKey(key: Buffer, signed: Buffer, signature: Buffer): boolean | undefined {
  const [type = Buffer.alloc(0), ...fields] = readStrings(key)
  const isEd25519 = type.equals(ED25519)
  if (!isEd25519 && !type.equals(ECDSA)) return undefined
  if (!isEd25519 && !fields[0]?.equals(CURVE)) return false
  const [point, application] = isEd25519 ? fields : fields.slice(1)
  const tail = signature.subarray(-TAIL)
  if (!point || !application || tail.length < TAIL || ((tail[0] ?? 0) & USER_PRESENT) === 0) return false
  const data = Buffer.concat([sha256(application), tail, sha256(signed)])
  const bare = signature.subarray(0, -TAIL)
  try {
    if (isEd25519) return verify(null, data, publicKey({ kty: 'OKP', crv: 'Ed25519', x: text(point) }), bare)
    if (point[0] !== UNCOMPRESSED) return false
    const [x, y] = [point.subarray(1, 1 + COORDINATE), point.subarray(1 + COORDINATE)]
    const jwk = { kty: 'EC', crv: 'P-256', x: text(x), y: text(y) }
    const pair = Buffer.concat(readStrings(bare).map(toCoordinate))
    return verify('sha256', data, { key: publicKey(jwk), dsaEncoding: 'ieee-p1363' }, pair)
  } catch {
    // A point that is none, on no curve.
    return false
  }
}

const ED25519 = Buffer.from('sk-ssh-ed25519@openssh.com')
const ECDSA = Buffer.from('sk-ecdsa-sha2-nistp256@openssh.com')

const CURVE = Buffer.from('nistp256')
/** How a point begins of which both coordinates follow (SEC 1 section 2.3.3). */
const UNCOMPRESSED = 4

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
const text = (bytes: Buffer) => bytes.toString('base64url')
const publicKey = (jwk: Record<string, string>) => createPublicKey({ key: jwk, format: 'jwk' })

/** The strings of RFC 4251 section 5, one behind the other; what is left of a broken one is none. */
function readStrings(bytes: Buffer): Buffer[] {
  const strings: Buffer[] = []
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at)
    at += 4
    if (at + length > bytes.length) break
    strings.push(bytes.subarray(at, at + length))
    at += length
  }
  return strings
}

/** A number without its sign byte, filled up to the length of a coordinate. */
function toCoordinate(number: Buffer): Buffer {
  const digits = number[0] === 0 ? number.subarray(1) : number
  return Buffer.concat([Buffer.alloc(Math.max(0, COORDINATE - digits.length)), digits])
}
