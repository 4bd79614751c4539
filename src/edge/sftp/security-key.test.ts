import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { test } from 'node:test'
import { isSignedBySecurityKey } from './security-key.ts'

const MESSAGE = Buffer.from('what the client is to sign')

const string = (bytes: Buffer | string) => {
  const field = Buffer.from(bytes as string)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(field.length)
  return Buffer.concat([length, field])
}
const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest()
const bytesOf = (text: string | undefined) => Buffer.from(text ?? '', 'base64url')

/** What a security key signs instead of the message itself. */
const dataOf = (message: Buffer, tail: Buffer) => Buffer.concat([sha256('ssh:'), tail, sha256(message)])
const tailOf = (flags: number) => Buffer.from([flags, 0, 0, 1, 2])

function ed25519() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const point = bytesOf(publicKey.export({ format: 'jwk' }).x)
  const key = Buffer.concat(['sk-ssh-ed25519@openssh.com', point, 'ssh:'].map(string))
  const signWith = (message: Buffer, flags: number) =>
    Buffer.concat([sign(null, dataOf(message, tailOf(flags)), privateKey), tailOf(flags)])
  return { key, signWith }
}

function ecdsa() {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { x, y } = publicKey.export({ format: 'jwk' })
  const point = Buffer.concat([Buffer.of(4), bytesOf(x), bytesOf(y)])
  const key = Buffer.concat(['sk-ecdsa-sha2-nistp256@openssh.com', 'nistp256', point, 'ssh:'].map(string))
  const signWith = (message: Buffer, flags: number) =>
    Buffer.concat([...numbersOf(privateKey, dataOf(message, tailOf(flags))), tailOf(flags)])
  return { key, signWith }
}

/** As SSH writes numbers: no zeros before them, but one where the first bit is set. */
function numbersOf(key: KeyObject, data: Buffer): Buffer[] {
  const pair = sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' })
  return [pair.subarray(0, 32), pair.subarray(32)].map((number) => {
    const start = number.findIndex((byte) => byte !== 0)
    const digits = number.subarray(start)
    return string((digits[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), digits]) : digits)
  })
}

for (const [name, make] of [
  ['ed25519', ed25519],
  ['ecdsa', ecdsa],
] as const) {
  test(`security keys, ${name}: a signature counts for its key, its message and a touch`, () => {
    // Numbers with zeros before them come about once in 128 signatures.
    for (let count = 0; count < 300; count++) {
      const { key, signWith } = make()
      assert.equal(isSignedBySecurityKey(key, MESSAGE, signWith(MESSAGE, 1)), true)
      if (count > 0) continue
      assert.equal(isSignedBySecurityKey(key, MESSAGE, signWith(MESSAGE, 5)), true)
      assert.equal(isSignedBySecurityKey(key, MESSAGE, signWith(MESSAGE, 4)), false)
      assert.equal(isSignedBySecurityKey(key, Buffer.from('another'), signWith(MESSAGE, 1)), false)
      assert.equal(isSignedBySecurityKey(make().key, MESSAGE, signWith(MESSAGE, 1)), false)
    }
  })

  test(`security keys, ${name}: damaged keys and signatures are refused, not believed and no fault`, () => {
    const { key, signWith } = make()
    const signature = signWith(MESSAGE, 1)
    for (let at = 0; at < signature.length; at++) {
      assert.equal(isSignedBySecurityKey(key, MESSAGE, signature.subarray(0, at)), false, `${at} bytes`)
      const changed = Buffer.from(signature)
      changed[at] = 0xff ^ (changed[at] ?? 0)
      assert.equal(isSignedBySecurityKey(key, MESSAGE, changed), false, `byte ${at}`)
    }
    for (let at = 0; at < key.length; at++) {
      assert.ok(isSignedBySecurityKey(key.subarray(0, at), MESSAGE, signature) !== true, `key of ${at} bytes`)
      const changed = Buffer.from(key)
      changed[at] = 0xff ^ (changed[at] ?? 0)
      assert.ok(isSignedBySecurityKey(changed, MESSAGE, signature) !== true, `key byte ${at}`)
    }
  })
}

test('security keys: others are none of its business', () => {
  const key = Buffer.concat(['ssh-ed25519', Buffer.alloc(32)].map(string))
  assert.equal(isSignedBySecurityKey(key, MESSAGE, Buffer.alloc(69)), undefined)
  assert.equal(isSignedBySecurityKey(Buffer.alloc(0), MESSAGE, Buffer.alloc(69)), undefined)
})
