import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type TestContext, test } from 'node:test'
import { Resources } from '#base/resources.ts'
import { BLOCK_SIZE, maxStoredSize } from '#data/block/block.ts'
import { COMPRESS_TABLE_SIZE, createCodecMemory, openCodec } from '#data/codec/codec.ts'
import { keepBlock } from '../keep-block.ts'
import { createS3Client } from './client.ts'
import { memoryObjects } from './memory-objects.fixtures.ts'
import type { S3Objects } from './objects.ts'
import { createS3Store } from './store.ts'

const LENGTH = 4096
const BLOCKS = 6
const OUTPUT = 64 * 1024 + BLOCK_SIZE
const TABLE = OUTPUT + 2 * BLOCK_SIZE

/** Stores blocks of its own as a block worker does, with room for one block at rest. @param before each put */
function openKeeper(before: () => Promise<void> = async () => {}) {
  const objects = memoryObjects()
  const counts: Record<string, number> = {}
  const count = (what: string, key: string) => {
    const kind = `${what} ${key.split('/')[0]}`
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  const counted: S3Objects = {
    ...objects,
    async put(key, bytes, generation) {
      count('put', key)
      await before()
      await objects.put(key, bytes, generation)
    },
    head(key) {
      count('head', key)
      return objects.head(key)
    },
    get(key, limit) {
      count('get', key)
      return objects.get(key, limit)
    },
    list(prefix, after) {
      count('list', prefix)
      return objects.list(prefix, after)
    },
  }
  const store = createS3Store({ objects: counted })
  const codec = openCodec(createCodecMemory(TABLE + COMPRESS_TABLE_SIZE + maxStoredSize(BLOCK_SIZE)))
  const outputs = new Resources([OUTPUT])
  const keep = (index: number) => {
    const address = 64 * 1024 + index * LENGTH
    codec.bytes.fill(index + 1, address, address + LENGTH)
    return keepBlock({ blocks: store.blocks, codec, outputs, table: TABLE }, address, LENGTH)
  }
  const keepAll = () => Promise.all(Array.from({ length: BLOCKS }, (_, index) => keep(index)))
  const take = () => {
    const taken = { ...counts }
    for (const kind of Object.keys(counts)) delete counts[kind]
    return taken
  }
  return { store, counts, keep, keepAll, take }
}

test('s3 requests: a block that is new takes one look and one put', async () => {
  const { keepAll, take } = openKeeper()
  const kept = await keepAll()
  assert.deepEqual(
    kept.map((block) => block?.known),
    Array(BLOCKS).fill(false),
  )
  assert.deepEqual(take(), { 'head blocks': BLOCKS, 'put blocks': BLOCKS, 'list generations': 1 })
})

test('s3 requests: a block that is known is looked for and read, and marked once in a generation', async () => {
  const { store, keepAll, take } = openKeeper()
  const sizes = (await keepAll()).map((block) => block?.storedLength)
  take()
  const again = await keepAll()
  assert.deepEqual(
    again.map((block) => [block?.known, block?.storedLength]),
    sizes.map((size) => [true, size]),
  )
  assert.deepEqual(take(), { 'head blocks': BLOCKS, 'get blocks': BLOCKS })
  await store.nextGeneration()
  take()
  await keepAll()
  assert.deepEqual(take(), { 'head blocks': BLOCKS, 'get blocks': BLOCKS, 'put claims': BLOCKS })
})

test('s3 requests: blocks are looked for while others are written, however little room there is', async () => {
  const { promise: written, resolve: write } = Promise.withResolvers<void>()
  const { promise: allLookedFor, resolve: looked } = Promise.withResolvers<void>()
  const { keepAll, counts } = openKeeper(() => written)
  const kept = keepAll()
  const look = () => {
    if (counts['head blocks'] === BLOCKS && counts['put blocks'] === 1) looked()
    else setImmediate(look)
  }
  look()
  await allLookedFor
  write()
  assert.equal((await kept).length, BLOCKS)
  assert.equal(counts['put blocks'], BLOCKS)
})

test('s3 requests: a put whose block could not be looked for is none', async () => {
  const { store, keep, counts } = openKeeper()
  store.blocks.claim = () => Promise.reject(new Error('not now'))
  await assert.rejects(keep(0), /not now/)
  assert.deepEqual(counts, {})
})

/** Answers like a server with an empty bucket, or with none. */
async function openServer(t: TestContext, bucket: 200 | 404) {
  const asked: string[] = []
  const server = createServer(({ method, url }, answer) => {
    asked.push(`${method} ${url}`)
    answer.writeHead(url === '/bucket' ? bucket : 404).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const endpoint = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  const objects = createS3Client({
    address: { endpoint, bucket: 'bucket', prefix: '', region: 'us-east-1' },
    credentials: async () => ({ accessKeyId: 'KEY', secretAccessKey: 'SECRET' }),
  })
  t.after(async () => {
    await objects[Symbol.asyncDispose]()
    server.close()
  })
  return { objects, asked }
}

test('s3 requests: many who miss something at once ask once whether the bucket is there', async (t) => {
  const { objects, asked } = await openServer(t, 200)
  const looks = await Promise.all(Array.from({ length: 24 }, (_, index) => objects.head(`blocks/${index}`)))
  assert.ok(looks.every((found) => found === undefined))
  assert.equal(asked.filter((one) => one === 'HEAD /bucket').length, 1)
  assert.equal(asked.length, 25)
})

test('s3 requests: nothing is missing where the bucket is gone, but nothing is known', async (t) => {
  const { objects, asked } = await openServer(t, 404)
  const looks = Array.from({ length: 3 }, (_, index) => objects.head(`blocks/${index}`))
  for (const look of await Promise.allSettled(looks)) assert.equal(look.status, 'rejected')
  await assert.rejects(objects.head('blocks/later'), { code: 'unavailable' })
  assert.equal(asked.filter((one) => one === 'HEAD /bucket').length, 2, 'and it is asked again')
})
