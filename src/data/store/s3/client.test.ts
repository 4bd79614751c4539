import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { createS3Place, createSdkClient, RADOSGW } from '../../../../test/support/radosgw.ts'
import { needs } from '../../../../test/support/tools.ts'
import { createS3Client, type S3ClientOptions } from './client.ts'
import type { S3Place } from './place.ts'

const options = needs(...RADOSGW)
const DIGEST = 'ab'.repeat(32)

async function open(
  t: TestContext,
  change: Partial<S3ClientOptions> & { readonly place?: Partial<S3Place> } = {},
) {
  const { credentials, ...address } = { ...(await createS3Place()), ...change.place }
  const shared = { credentials: async () => credentials, random: () => 0 }
  const objects = createS3Client({ address, ...shared, ...change })
  t.after(() => objects[Symbol.asyncDispose]())
  const sdk = createSdkClient({ ...address, credentials })
  t.after(() => sdk.destroy())
  return { objects, sdk, ...address, credentials }
}

test("s3: Amazon's own client reads what we put", options, async (t) => {
  const { objects, sdk, bucket, prefix } = await open(t)
  const large = Buffer.alloc(17 * MiB + 1, 'manifest')
  const parts = [large.subarray(0, 3), large.subarray(3, 9 * MiB), large.subarray(9 * MiB)]
  await objects.put('blocks/b', Buffer.from('block'), 12)
  await objects.putStream('manifests/m', parts, 13)
  for (const [key, bytes, generation] of [
    ['blocks/b', Buffer.from('block'), '12'],
    ['manifests/m', large, '13'],
  ] as const) {
    const found = await sdk.send(new GetObjectCommand({ Bucket: bucket, Key: prefix + key }))
    assert.ok(bytes.equals(Buffer.from((await found.Body?.transformToByteArray()) ?? [])), key)
    assert.deepEqual(found.Metadata, { generation })
  }
  const listed = await sdk.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }))
  assert.deepEqual(
    listed.Contents?.map(({ Key, Size }) => [Key, Size]),
    [
      [`${prefix}blocks/b`, 5],
      [`${prefix}manifests/m`, large.length],
    ],
  )
  await objects.copy('blocks/b', 'removed/b')
  await Promise.all([objects.delete('blocks/b'), objects.delete('manifests/m')])
  await assert.rejects(sdk.send(new HeadObjectCommand({ Bucket: bucket, Key: `${prefix}blocks/b` })))
  const copy = await sdk.send(new HeadObjectCommand({ Bucket: bucket, Key: `${prefix}removed/b` }))
  assert.deepEqual(copy.Metadata, { generation: '12' }, 'a copy has all that it is a copy of')
})

test("s3: we read what Amazon's own client put", options, async (t) => {
  const { objects, sdk, bucket, prefix } = await open(t)
  const body = Buffer.from('0123456789')
  await sdk.send(new PutObjectCommand({ Bucket: bucket, Key: `${prefix}k`, Body: body }))
  assert.deepEqual(await objects.get('k', 10), body)
  assert.deepEqual(await objects.head('k'), { size: 10, generation: 0 })
  assert.deepEqual(await objects.getPart('k', 8, 100), { bytes: Buffer.from('89'), size: 10 })
  await assert.rejects(objects.get('k', 9), { code: 'corrupt' })
})

test(
  's3: a list goes on over pages, in order, and many are deleted with few requests',
  options,
  async (t) => {
    const { objects } = await open(t)
    const keys = Array.from({ length: 1100 }, (_, at) => `blocks/${String(at).padStart(6, '0')}`)
    await Promise.all(keys.toReversed().map((key) => objects.put(key, Buffer.of(1), 1)))
    const listed = async (after?: string) =>
      (await Array.fromAsync(objects.list('blocks/', after))).map(({ key }) => key)
    assert.deepEqual(await listed(), keys)
    assert.deepEqual(await listed(keys[1049]), keys.slice(1050))
    await Promise.all(keys.map((key) => objects.delete(key)))
    assert.deepEqual(await listed(), [])
  },
)

test('s3: a clock that is wrong is corrected by the server', options, async (t) => {
  const { objects } = await open(t, { now: () => Date.now() - 3 * 3600_000 })
  await objects.put('k', Buffer.of(1), 1)
  const late = await open(t, { now: () => Date.now() + 24 * 3600_000 })
  assert.equal(await late.objects.head(DIGEST), undefined, 'also where the answer has no body')
})

const refusals: readonly (readonly [string, Partial<S3Place>, RegExp])[] = [
  [
    'a wrong key',
    { credentials: { accessKeyId: 'AKTEST', secretAccessKey: 'other' } },
    /SignatureDoesNotMatch/,
  ],
  [
    'an unknown key',
    { credentials: { accessKeyId: 'NOBODY', secretAccessKey: 'other' } },
    /InvalidAccessKeyId/,
  ],
  ['a bucket that is not there', { bucket: `none-${randomUUID()}` }, /NoSuchBucket/],
]
for (const [what, place, message] of refusals) {
  test(`s3: ${what} is told at once, with what to do and no secret`, options, async (t) => {
    const { objects, credentials } = await open(t, { place })
    const isTold = (error: unknown) => {
      assert.ok(error instanceof LibraryError && error.code === 'unavailable' && error.hint)
      assert.ok(!`${error.stack} ${error.hint}`.includes(credentials.secretAccessKey))
      return true
    }
    await assert.rejects(
      objects.put('k', Buffer.of(1), 1),
      (error) => isTold(error) && message.test(String(error)),
    )
    await assert.rejects(objects.get('k', 1), isTold)
    // Whether it is there, nobody knows.
    await assert.rejects(objects.head('k'), isTold)
  })
}

test('s3: a server that is not there is unavailable within a bound', async (t) => {
  const objects = createS3Client({
    address: { endpoint: 'http://127.0.0.1:1', bucket: 'b', prefix: '', region: 'r' },
    credentials: async () => ({ accessKeyId: 'a', secretAccessKey: 'SECRET' }),
    random: () => 0,
  })
  t.after(() => objects[Symbol.asyncDispose]())
  await assert.rejects(objects.get('k', 1), /get k: the object store does not answer \(ECONNREFUSED\)/)
})
