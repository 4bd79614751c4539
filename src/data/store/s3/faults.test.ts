import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import {
  type FaultyProxy,
  S3_FAULTS,
  type S3Fault,
  startFaultyProxy,
} from '../../../../test/support/faulty-proxy.ts'
import { createS3Place, RADOSGW } from '../../../../test/support/radosgw.ts'
import { needs } from '../../../../test/support/tools.ts'
import { createS3Client } from './client.ts'
import type { S3Objects } from './objects.ts'
import type { S3Place } from './place.ts'

const BYTES = Buffer.from('a block at rest')
const TIMES = { connectMs: 5_000, headersMs: 1_500, silenceMs: 1_500, attemptMs: 10_000, callMs: 3_000 }

/** One call, what it needs before, and what must come of it: the last is asked of a client without faults. */
interface Operation {
  /** What the requests to be broken have in them; the key, unless it says otherwise. */
  readonly word?: (key: string) => string
  readonly prepare?: (objects: S3Objects, key: string) => Promise<void>
  readonly act: (objects: S3Objects, key: string) => Promise<unknown>
  readonly check: (objects: S3Objects, key: string, result: unknown) => Promise<void>
}

const putFirst = (objects: S3Objects, key: string) => objects.put(key, BYTES, 7)
const large = Buffer.alloc(9 * MiB, 'manifest')
const isThere = async (objects: S3Objects, key: string, bytes = BYTES) =>
  assert.ok((await objects.get(key, bytes.length))?.equals(bytes))

const OPERATIONS: Readonly<Record<string, Operation>> = {
  put: { act: putFirst, check: (objects, key) => isThere(objects, key) },
  'put in parts': {
    act: (objects, key) => objects.putStream(key, [large], 7),
    check: (objects, key) => isThere(objects, key, large),
  },
  get: {
    prepare: putFirst,
    act: (objects, key) => objects.get(key, 100),
    check: async (_objects, _key, result) => assert.deepEqual(result, BYTES),
  },
  'get a part': {
    prepare: putFirst,
    act: (objects, key) => objects.getPart(key, 2, 5),
    check: async (_objects, _key, result) =>
      assert.deepEqual(result, { bytes: BYTES.subarray(2, 7), size: 15 }),
  },
  head: {
    prepare: putFirst,
    act: (objects, key) => objects.head(key),
    check: async (_objects, _key, result) => assert.deepEqual(result, { size: 15, generation: 7 }),
  },
  'look for what is not there': {
    act: (objects, key) => objects.get(key, 100),
    check: async (_objects, _key, result) => assert.equal(result, undefined),
  },
  copy: {
    prepare: putFirst,
    act: (objects, key) => objects.copy(key, `${key}-copy`),
    check: (objects, key) => isThere(objects, `${key}-copy`),
  },
  delete: {
    prepare: putFirst,
    act: (objects, key) => objects.delete(key),
    check: async (objects, key) => assert.equal(await objects.head(key), undefined),
  },
  'delete many': {
    word: (key) => `${key}-last`,
    prepare: (objects, key) => objects.put(`${key}-last`, BYTES, 7),
    // The first goes alone, the others together.
    act: (objects, key) =>
      Promise.all(['first', 'more', 'last'].map((end) => objects.delete(`${key}-${end}`))),
    check: async (objects, key) => assert.equal(await objects.head(`${key}-last`), undefined),
  },
  list: {
    prepare: putFirst,
    act: (objects, key) => Array.fromAsync(objects.list(key)),
    check: async (_objects, key, result) =>
      assert.deepEqual(
        (result as { key: string }[]).map((object) => object.key),
        [key],
      ),
  },
}

/** What HEAD, which has no body, does not meet; nor a deletion, whose answer says nothing. */
const HARMLESS: Readonly<Record<string, readonly S3Fault[]>> = {
  head: ['half a body', 'a body that stops'],
  delete: ['a page of something else', 'half a body', 'a body that stops'],
}

describe('an object store that fails', needs(...RADOSGW), () => {
  let place: S3Place
  let plain: S3Objects
  let proxy: FaultyProxy
  let objects: S3Objects
  before(async () => {
    place = await createS3Place()
    const { credentials, ...address } = place
    const shared = { credentials: async () => credentials, times: TIMES, connections: 64, random: () => 0 }
    plain = createS3Client({ address, ...shared })
    proxy = await startFaultyProxy(address.endpoint)
    objects = createS3Client({ address: { ...address, endpoint: proxy.url }, ...shared })
  })
  after(async () => {
    await objects?.[Symbol.asyncDispose]()
    await plain?.[Symbol.asyncDispose]()
    await proxy?.[Symbol.asyncDispose]()
  })

  const faultsOf = (name: string) =>
    (Object.keys(S3_FAULTS) as S3Fault[]).filter((fault) => !HARMLESS[name]?.includes(fault))

  /** Deletions come one after the other, for those at once become one. */
  async function each(name: string, work: (fault: S3Fault) => Promise<void>): Promise<void> {
    if (!name.startsWith('delete')) await Promise.all(faultsOf(name).map(work))
    else for (const fault of faultsOf(name)) await work(fault)
  }

  async function once(name: string, fault: S3Fault): Promise<void> {
    const operation = OPERATIONS[name]
    assert.ok(operation)
    const key = randomUUID()
    await operation.prepare?.(plain, key)
    const asked = proxy.break(operation.word?.(key) ?? key, fault, 1)
    const result = await operation.act(objects, key)
    await operation.check(plain, key, result)
    assert.ok(asked.count > 1, `${name}, ${fault}: it was tried again`)
  }

  async function always(name: string, fault: S3Fault): Promise<void> {
    const operation = OPERATIONS[name]
    assert.ok(operation)
    const key = randomUUID()
    await operation.prepare?.(plain, key)
    const asked = proxy.break(operation.word?.(key) ?? key, fault, Number.POSITIVE_INFINITY)
    await assert.rejects(operation.act(objects, key), (error) => {
      assert.ok(error instanceof LibraryError, `${name}, ${fault}: ${error}`)
      assert.equal(error.code, 'unavailable', `${name}, ${fault}`)
      assert.ok(error.hint)
      const told = `${error.stack} ${error.cause instanceof Error ? error.cause.stack : ''}`
      assert.ok(!told.includes(place.credentials.secretAccessKey) && !told.includes('Signature='), told)
      return true
    })
    // An upload in parts makes several calls, and drops what it began.
    assert.ok(asked.count >= 2 && asked.count <= 16, `${name}, ${fault}: ${asked.count} attempts`)
  }

  for (const name of Object.keys(OPERATIONS)) {
    test(`${name}: what fails once is tried again, and has happened`, async () => {
      await each(name, (fault) => once(name, fault))
    })
  }

  test('what fails always is unavailable, within a bound, and told without keys', async () => {
    // Of deletions the one is like the other, and those at once would become one.
    const names = Object.keys(OPERATIONS).filter((name) => name !== 'delete many')
    await Promise.all(names.map((name) => each(name, (fault) => always(name, fault))))
  })
})
