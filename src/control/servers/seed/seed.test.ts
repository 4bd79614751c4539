import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { KiB } from '#base/bytes.ts'
import { needs } from '../../../../test/support/tools.ts'
import { makeIso } from './iso9660.ts'
import { createSeed, type SeedOptions } from './seed.ts'

const READER = fileURLToPath(new URL('../../../../test/support/read-iso.py', import.meta.url))
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq me@example'
const plain = { instanceId: 'srv-abcde', hostname: 'srv-abcde', sshKeys: [], userData: undefined }

describe('the seed', needs('python3'), () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'seed-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  async function read(image: Uint8Array) {
    const path = join(folder, `seed-${randomInt(2 ** 31)}.iso`)
    await writeFile(path, image)
    const said = JSON.parse(execFileSync('python3', [READER, path], { encoding: 'utf8' }))
    const files = new Map<string, Buffer>()
    for (const [name, { content }] of Object.entries<{ content: string }>(said.files))
      files.set(name, Buffer.from(content, 'base64'))
    return { ...said, contents: files }
  }

  async function metaOf(options: Partial<SeedOptions>): Promise<string> {
    const { contents } = await read(createSeed({ ...plain, ...options }))
    return String(contents.get('meta-data'))
  }

  test('it has the name and the files that cloud-init looks for, for root alone', async () => {
    const { volume, files, contents, signatures } = await read(createSeed(plain))
    assert.equal(volume, 'cidata')
    assert.deepEqual(signatures, ['SP', 'ER', 'PX'])
    assert.deepEqual([...contents.keys()], ['meta-data', 'user-data'])
    assert.equal(files['user-data'].mode, 0o100400)
    assert.equal(String(contents.get('user-data')), '#cloud-config\n')
    assert.equal(String(contents.get('meta-data')), 'instance-id: "srv-abcde"\nlocal-hostname: "srv-abcde"\n')
  })

  test('keys are listed, and none adds a line of its own', async () => {
    const hostile = ['x"\npublic-keys: [y]', 'a\u2028b\u0085c\u007f\ufeff', '\\', '- {', 'é😀', '\ud800']
    const lines = (await metaOf({ sshKeys: [KEY, ...hostile] })).trimEnd().split('\n')
    assert.equal(lines[2], 'public-keys:')
    const keys = lines.slice(3).map((line) => {
      assert.match(line, /^ {2}- "[^\p{Cc}\u2028\u2029\ufeff]*"$/u)
      return JSON.parse(line.slice(4))
    })
    assert.deepEqual(keys, [KEY, ...hostile])
  })

  test('names cannot add anything either', async () => {
    const meta = await metaOf({ instanceId: 'a\nb: c', hostname: '"\'#: ' })
    assert.equal(meta, 'instance-id: "a\\nb: c"\nlocal-hostname: "\\"\'#: "\n')
  })

  test('user data are the bytes given, whatever they are', async () => {
    for (const userData of [
      gzipSync('#!/bin/sh\necho hello\n'),
      randomBytes(64 * KiB),
      randomBytes(2048),
      randomBytes(2049),
      Buffer.alloc(0),
    ]) {
      const { contents } = await read(createSeed({ ...plain, userData }))
      assert.ok(contents.get('user-data')?.equals(userData))
    }
  })

  test('the same options make the same bytes', () => {
    const options = { ...plain, sshKeys: [KEY], userData: Buffer.from('#!/bin/sh\n') }
    assert.deepEqual(createSeed(options), createSeed(options))
  })

  test('an image that cannot be is a bug', () => {
    assert.throws(() => makeIso('x'.repeat(33), []), /a volume called/)
    const files = Array.from({ length: 40 }, (_, index) => ({
      name: `file-${index}`,
      bytes: new Uint8Array(1),
    }))
    assert.throws(() => makeIso('many', files), /in one sector/)
    assert.throws(
      () => makeIso('long', [{ name: 'x'.repeat(120), bytes: new Uint8Array(1) }]),
      /directory record/,
    )
  })
})
