/**
 * A worker thread that turns plain bytes into stored blocks: zero test, digest, compression, write.
 * It is also where xz blocks of strangers are decompressed, so that a fault there costs one registration.
 */
import { readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'
import { Resources } from '#base/resources.ts'
import { toPlainError } from '#base/thread-errors.ts'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { openCodec } from '#data/codec/codec.ts'
import { HEAD_SIZE, TAIL_SIZE } from '#data/format/probe.ts'
import type { CompressedExtent, PlainExtent } from '#data/format/qcow2/extents.ts'
import { badCluster, endsBeforeCluster } from '#data/format/qcow2/refusals.ts'
import { decodeXzBlock } from '#data/format/xz/block.ts'
import { createClusterDecoder } from '#data/native/cluster-decoder.ts'
import { connectDecoder } from '#data/native/decoder-host.ts'
import { reusedMemory } from '#data/native/reused-memory.ts'
import { keepBlock } from '#data/store/keep-block.ts'
import { StoreClock } from '#data/store/measured.ts'
import { openStore } from '#data/store/open-store.ts'
import type { BlockOutcome, BlockResult, BlockTask, BlockWorkerData, StoredBlock } from './block-task.ts'
import { roomFor, scratchLayout } from './scratch.ts'

const port = parentPort
assert(port, 'the block worker runs in a worker thread')
const { memory, scratch, storePlace, writer, reserve, xzDictionary, decoders } = workerData as BlockWorkerData
const clock = new StoreClock()
const send = (outcome: BlockOutcome) => {
  const result: BlockResult = { ...outcome, times: clock.take() }
  port.postMessage(result)
}
const codec = openCodec(memory)
const store = await openStore(storePlace, {
  ...{ blocking: true, writer, reserve: { bytes: reserve } },
  onTime: clock.record,
})
const layout = scratchLayout(scratch, roomFor(storePlace))
const regions = new Resources(layout.regions)
const outputs = new Resources(layout.outputs)

/** Stores one block; undefined where it is all zeros. The bytes at `address` are needed until this resolves. */
async function storeBlock(index: number, address: number, length: number): Promise<StoredBlock | undefined> {
  const kept = await keepBlock({ blocks: store.blocks, codec, outputs, table: layout.table }, address, length)
  return kept && { index, ...kept }
}

/**
 * Stores the blocks of a region. It is settled, well or not, only when none of them needs the region any more: a block
 * that was hashed there and compressed after somebody else had filled it would be stored under a wrong name.
 */
async function storeRegion(offset: number, address: number, length: number): Promise<StoredBlock[]> {
  const pieces: Promise<StoredBlock | undefined>[] = []
  for (let at = 0; at < length; at += BLOCK_SIZE) {
    pieces.push(storeBlock((offset + at) / BLOCK_SIZE, address + at, Math.min(BLOCK_SIZE, length - at)))
  }
  await Promise.allSettled(pieces)
  return (await Promise.all(pieces)).filter((block) => block !== undefined)
}

const copyOf = (address: number, length: number) => codec.bytes.slice(address, address + length)

const clusterDecoders = new Resources([createClusterDecoder((onread) => connectDecoder(decoders, onread))])
/** For compressed clusters, by whoever has the decoder. */
const inputMemory = reusedMemory()

/** Reads compressed clusters into a region, all at once; returns how much of the spool the stream of each took. */
async function readClusters(
  { fd, offset, clusterSize }: BlockTask & { kind: 'spool' },
  extents: readonly CompressedExtent[],
  region: number,
): Promise<readonly number[]> {
  const [first] = extents
  if (!first) return []
  const { compression } = first
  const places = clusterPlaces(
    extents.map((extent) => region + extent.offset - offset),
    clusterSize,
  )
  const decode = await clusterDecoders.acquire()
  try {
    const inputs = readInputs(fd, extents)
    const consumed = await decode({ clusterSize, compression, inputs }, places)
    const bad = extents[consumed.indexOf(0)]
    if (bad) throw badCluster(bad.offset)
    return consumed
  } finally {
    clusterDecoders.release(decode)
  }
}

function readInputs(fd: number, extents: readonly CompressedExtent[]): Uint8Array[] {
  const memory = inputMemory(extents.reduce((sum, { hostLength }) => sum + hostLength, 0))
  let at = 0
  return extents.map(({ offset, hostOffset, hostLength }) => {
    const got = readSync(fd, memory, at, hostLength, hostOffset)
    if (got === 0) throw endsBeforeCluster(offset)
    at += got
    return memory.subarray(at - got, at)
  })
}

/** Memory of whole clusters, those that follow each other as one; the last of a disk may show less of itself. */
function clusterPlaces(addresses: readonly number[], clusterSize: number): Uint8Array[] {
  const runs: { start: number; end: number }[] = []
  for (const address of addresses) {
    const last = runs.at(-1)
    if (last?.end === address) last.end += clusterSize
    else runs.push({ start: address, end: address + clusterSize })
  }
  return runs.map(({ start, end }) => codec.bytes.subarray(start, end))
}

function readPlain(fd: number, extent: PlainExtent, target: number): void {
  let done = 0
  while (done < extent.length) {
    const got = readSync(fd, codec.bytes, target + done, extent.length - done, extent.hostOffset + done)
    if (got === 0)
      throw new Refusal(
        'truncated',
        `The file ends too early (${extent.hostOffset + done} bytes). Is the download complete?`,
      )
    done += got
  }
}

async function runSpoolTask(task: BlockTask & { kind: 'spool' }): Promise<BlockOutcome> {
  const region = await regions.acquire()
  try {
    const covered = task.extents.reduce((sum, extent) => sum + extent.length, 0)
    if (covered < task.length) codec.bytes.fill(0, region, region + task.length)
    const compressed: CompressedExtent[] = []
    for (const extent of task.extents) {
      const target = region + extent.offset - task.offset
      assert(
        extent.offset >= task.offset && target + extent.length <= region + task.length,
        'extents lie in their region',
      )
      if (extent.kind === 'plain') readPlain(task.fd, extent, target)
      else compressed.push(extent)
    }
    const consumed = await readClusters(task, compressed, region)
    const head = task.wantHead ? copyOf(region, Math.min(HEAD_SIZE, task.length)) : undefined
    const blocks = await storeRegion(task.offset, region, task.length)
    return { id: task.id, blocks, decoded: task.length, consumed, head }
  } finally {
    regions.release(region)
  }
}

async function runXzTask(task: BlockTask & { kind: 'xz' }): Promise<BlockOutcome> {
  const stored: Promise<StoredBlock[]>[] = []
  let region = await regions.acquire()
  let filled = 0
  let offset = task.offset
  let tail: Uint8Array | undefined
  const flush = async (last: boolean) => {
    const address = region
    const length = filled
    if (last) tail = copyOf(address + Math.max(0, length - TAIL_SIZE), Math.min(TAIL_SIZE, length))
    const storing = storeRegion(offset, address, length).finally(() => regions.release(address))
    // Its failure is met when all are awaited; until then it must not count as unhandled.
    storing.catch(() => {})
    stored.push(storing)
    offset += length
    filled = 0
    send({ id: task.id, sign: true })
    if (!last) region = await regions.acquire()
  }
  try {
    const { bytes, check, uncompressedSize } = task
    for await (const chunk of decodeXzBlock({ bytes, check, uncompressedSize }, { xzDictionary })) {
      let taken = 0
      while (taken < chunk.length) {
        if (filled === BLOCK_SIZE) await flush(false)
        const count = Math.min(BLOCK_SIZE - filled, chunk.length - taken)
        codec.bytes.set(chunk.subarray(taken, taken + count), region + filled)
        filled += count
        taken += count
      }
    }
  } catch (error) {
    regions.release(region)
    await Promise.allSettled(stored)
    throw error
  }
  await flush(true)
  const blocks = (await Promise.all(stored)).flat()
  return { id: task.id, blocks, decoded: offset - task.offset, tail }
}

async function run(task: BlockTask): Promise<BlockOutcome> {
  switch (task.kind) {
    case 'memory': {
      const block = await storeBlock(task.index, task.address, task.length)
      return { id: task.id, blocks: block ? [block] : [], decoded: task.length }
    }
    case 'spool':
      return runSpoolTask(task)
    case 'xz':
      return runXzTask(task)
  }
}

port.on('message', (task: BlockTask) => {
  run(task).then(send, (error: unknown) => send({ id: task.id, error: toPlainError(error) }))
})
