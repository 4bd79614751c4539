import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import ssh2 from 'ssh2'
import { makePair, readHostKeys } from './host-key.ts'

const folder = mkdtempSync(join(tmpdir(), 'host-key-'))
after(() => rmSync(folder, { recursive: true }))

test('host key: it is made once, for the library alone, and stays the same', async () => {
  const made = await readHostKeys(join(folder, 'ssh'))
  assert.match(made.fingerprint, /^SHA256:[\w+/]{43}$/)
  assert.deepEqual(await readHostKeys(join(folder, 'ssh')), made)
  const path = join(folder, 'ssh/ssh_host_ed25519_key')
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.match(readFileSync(`${path}.pub`, 'utf8'), /^ssh-ed25519 [\w+/=]+\n$/)
})

test('host key: one that is damaged is an error, not another key', async () => {
  writeFileSync(join(folder, 'ssh/ssh_host_rsa_key'), 'nonsense')
  await assert.rejects(readHostKeys(join(folder, 'ssh')), /ssh_host_rsa_key: it is not a private key/)
})

test('host key: every one that is made can be read', async () => {
  // Of so many, ten would be none.
  for (let count = 0; count < 2_000; count++) {
    const parsed = ssh2.utils.parseKey((await makePair('ed25519')).private)
    assert.ok(!(parsed instanceof Error))
  }
})

test('host key: of several that make one at once, all have the same, and none is left over', async () => {
  const shared = join(folder, 'shared')
  const made = await Promise.all(Array.from({ length: 4 }, () => readHostKeys(shared)))
  for (const keys of made) assert.deepEqual(keys, made[0])
  assert.deepEqual(await readHostKeys(shared), made[0])
  assert.equal(readdirSync(shared).length, 4)
})

test("host key: those in a folder of the operator's are used, and the folder left as it is", async () => {
  const own = join(folder, 'own')
  const made = await readHostKeys(own)
  chmodSync(own, 0o550)
  assert.deepEqual(await readHostKeys(own), made)
  assert.equal(statSync(own).mode & 0o777, 0o550)
})
