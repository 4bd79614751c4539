/** A worker thread of the pool: stores blocks, loads blocks, and holds the MD5 states that were begun in it. */
import { createHash, type Hash, hash } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { assert, LibraryError } from '#base/errors.ts'
import { Resources } from '#base/resources.ts'
import { toPlainError } from '#base/thread-errors.ts'
import { BLOCK_SIZE, decodeBlock, maxStoredSize, verifyStoredAt } from '#data/block/block.ts'
import { openCodec } from '#data/codec/codec.ts'
import { keepBlock } from '#data/store/keep-block.ts'
import { StoreClock } from '#data/store/measured.ts'
import { openStore, readsOf } from '#data/store/open-store.ts'
import { outputsFor, scratchLayout } from './pool-memory.ts'
import type { PoolAnswer, PoolResult, PoolTask, PoolWorkerData } from './pool-task.ts'

const port = parentPort
assert(port, 'the worker of a pool runs in a worker thread')
const { memory, scratch, storePlace, reserve } = workerData as PoolWorkerData
const codec = openCodec(memory)
const clock = new StoreClock()
const { blocks } = await openStore(storePlace, {
  ...{ blocking: true, reserve: { bytes: reserve } },
  onTime: clock.record,
})
/** For readers; what is kept is compared with what the store itself has. */
const reads = readsOf(storePlace, blocks, reserve)
const layout = scratchLayout(scratch, outputsFor(storePlace))
const outputs = new Resources(layout.outputs)
const keepWith = { blocks, codec, outputs, table: layout.table }
/** The states of streams whose bytes come in order. */
const sums = new Map<number, Hash>()

const bytesAt = (address: number, length: number) => codec.bytes.subarray(address, address + length)

type LoadTask = Extract<PoolTask, { kind: 'plain' | 'stored' }>

/** Reads a block at rest to `address`. */
async function fetch({ digest, storedLength }: LoadTask, address: number): Promise<void> {
  const got = await reads.readInto(digest, bytesAt(address, maxStoredSize(BLOCK_SIZE)))
  if (got !== storedLength)
    throw new LibraryError('corrupt', `${got} bytes are stored instead of ${storedLength}`)
}

/** Verifies the digest alone: it says all that the XXH32 of the block at rest could. */
async function loadPlain(task: LoadTask): Promise<undefined> {
  const { address, length, digest, storedLength } = task
  const source = await outputs.acquire()
  try {
    await fetch(task, source)
    decodeBlock(codec, { source, storedLength, target: address, length })
  } finally {
    outputs.release(source)
  }
  verifyDigest(address, length, digest)
}

/** Verifies the XXH32 too, for it is passed on. */
async function loadStored(task: LoadTask): Promise<undefined> {
  const { address: source, length, digest, storedLength } = task
  await fetch(task, source)
  verifyStoredAt(codec, { source, storedLength, length })
  const target = await outputs.acquire()
  try {
    decodeBlock(codec, { source, storedLength, target, length })
    verifyDigest(target, length, digest)
  } finally {
    outputs.release(target)
  }
}

function verifyDigest(address: number, length: number, digest: string): void {
  if (hash('sha256', bytesAt(address, length), 'hex') !== digest)
    throw new LibraryError('corrupt', 'its bytes have another digest')
}

function sumOf(stream: number): Hash {
  const known = sums.get(stream)
  if (known) return known
  const made = createHash('md5')
  sums.set(stream, made)
  return made
}

async function run(task: PoolTask): Promise<PoolAnswer> {
  switch (task.kind) {
    case 'store':
      return keepBlock(keepWith, task.address, task.length)
    case 'plain':
      return loadPlain(task)
    case 'stored':
      return loadStored(task)
    case 'md5-update':
      sumOf(task.stream).update(bytesAt(task.address, task.length))
      return undefined
    case 'md5-digest':
      return sumOf(task.stream).copy().digest('hex')
    case 'md5-fork':
      sums.set(task.stream, sumOf(task.from).copy())
      return undefined
    case 'md5-forget':
      sums.delete(task.stream)
      return undefined
  }
}

function send(result: PoolResult): void {
  assert(port, 'it has one')
  const times = clock.take()
  // Most tasks of an upload are sums, which ask the store for nothing.
  port.postMessage(times.length > 0 ? { ...result, times } : result)
}

port.on('message', (task: PoolTask) => {
  run(task).then(
    (answer) => send({ id: task.id, answer }),
    (error: unknown) => send({ id: task.id, error: toPlainError(error) }),
  )
})
