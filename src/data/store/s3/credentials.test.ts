import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { credentialsOf, holdS3Place } from './credentials.ts'
import { parseS3Address, type S3Credentials } from './place.ts'

const address = parseS3Address('s3://images/library?endpoint=http://127.0.0.1:9000')
const HOUR_MS = 3600_000

async function temporary(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'credentials-'))
  t.after(() => rm(folder, { recursive: true }))
  return folder
}

test('credentials: those that do not expire are handed on as they are, and lie on no disk', async (t) => {
  const folder = await temporary(t)
  const provide = async () => ({ accessKeyId: 'a', secretAccessKey: 's' })
  await using held = await holdS3Place({ address, folder, provide })
  assert.deepEqual(await credentialsOf(held.place)(true), { accessKeyId: 'a', secretAccessKey: 's' })
  assert.deepEqual(await readdir(folder), [])
})

test('credentials: those that expire are renewed for threads that run on', async (t) => {
  const folder = await temporary(t)
  let given: S3Credentials = { accessKeyId: 'old', secretAccessKey: 's', expiresAt: Date.now() + 1000 }
  const held = await holdS3Place({ address, folder, provide: async () => given, lookMs: 5 })
  // As a thread is told: a copy.
  const credentials = credentialsOf(structuredClone(held.place))
  assert.equal((await credentials()).accessKeyId, 'old')
  const [file = ''] = await readdir(folder)
  assert.equal((await stat(join(folder, file))).mode & 0o777, 0o600)
  given = { accessKeyId: 'new', secretAccessKey: 's', sessionToken: 't', expiresAt: Date.now() + HOUR_MS }
  // What is nearly expired is looked for anew, once a second at most.
  for (const until = Date.now() + 20_000; Date.now() < until; await setTimeout(20))
    if ((await credentials()).accessKeyId === 'new') break
  assert.deepEqual(await credentials(), given)
  await held[Symbol.asyncDispose]()
  assert.deepEqual(await readdir(folder), [])
  assert.deepEqual(await credentials(true), given, 'what is at hand is used where there is nothing newer')
})

test('credentials: without any, there is a next step', async (t) => {
  const provide = async () => {
    throw new Error('nothing found')
  }
  await assert.rejects(holdS3Place({ address, folder: await temporary(t), provide }), (error) => {
    assert.match(String(error), /there are no credentials/)
    return true
  })
})

test('addresses: bucket, prefix, endpoint and region are read', () => {
  const amazon = 'https://s3.eu-west-1.amazonaws.com'
  const rows = [
    ['s3://images', 'images', '', 'https://s3.us-east-1.amazonaws.com', 'us-east-1'],
    ['s3://images/a/b?region=eu-west-1', 'images', 'a/b/', amazon, 'eu-west-1'],
    ['s3://images/a/?endpoint=http://[::1]:9000', 'images', 'a/', 'http://[::1]:9000', 'us-east-1'],
  ] as const
  for (const [text, bucket, prefix, endpoint, region] of rows)
    assert.deepEqual(parseS3Address(text), { bucket, prefix, endpoint, region })
})

for (const text of [
  '',
  'http://images',
  's3://',
  's3://Images',
  's3://a',
  's3://key:secret@images/a',
  's3://images:9000/a',
  's3://images/a//b',
  's3://images/../b',
  's3://images/.a',
  's3://images/a%20b',
  `s3://images/${'a/'.repeat(300)}`,
  's3://images?endpoint=ftp://host',
  's3://images?endpoint=http://host/path',
  's3://images?endpoint=http://user@host',
  's3://images?region=eu%20west',
  's3://images?secret=abc',
  's3://images#a',
]) {
  test(`addresses: ${text.slice(0, 50) || 'nothing'} is none`, () => {
    // A URL parser makes "a/../b" to "b" by itself.
    if (text === 's3://images/../b') assert.equal(parseS3Address(text).prefix, 'b/')
    else assert.throws(() => parseS3Address(text), { code: 'invalid' })
  })
}
