import assert from 'node:assert/strict'
import { GiB, MiB, type RandomBytes, TiB } from '#base/bytes.ts'
import { Refusal, type RefusalCategory } from '#base/refusal.ts'
import { decodeCluster } from './cluster.ts'
import type { Qcow2Extent } from './extents.ts'
import { openQcow2, type Qcow2 } from './qcow2.ts'
import { endsTooEarly } from './refusals.ts'

/** A file that is all there; `sized: false` keeps its size to itself. */
export function fileOf(content: Uint8Array, { sized = true } = {}): RandomBytes {
  return {
    size: sized ? content.length : undefined,
    readAt: async (target, offset) => {
      const part = content.subarray(Math.min(offset, content.length), offset + target.length)
      target.set(part)
      return part.length
    },
  }
}

export function open(file: RandomBytes, signal = new AbortController().signal): Promise<Qcow2> {
  return openQcow2(file, { virtualSizeLimit: 16 * TiB, fileSizeLimit: 200 * GiB, signal })
}

/** Reads what an extent shows of the disk, as an importer does. */
export async function readExtent(file: RandomBytes, qcow2: Qcow2, extent: Qcow2Extent): Promise<Uint8Array> {
  if (extent.kind === 'plain') {
    const bytes = new Uint8Array(extent.length)
    const got = await file.readAt(bytes, extent.hostOffset)
    if (got < bytes.length) throw endsTooEarly(extent.hostOffset + got)
    return bytes
  }
  const { offset, compression, length } = extent
  const input = new Uint8Array(extent.hostLength)
  const got = await file.readAt(input, extent.hostOffset)
  const options = { clusterSize: qcow2.clusterSize, compression, offset }
  const { bytes, consumed } = decodeCluster(input.subarray(0, got), options)
  qcow2.claimConsumed(extent, consumed)
  return bytes.subarray(0, length)
}

/** Walks a whole disk, checking what extents promise, and tells what is not left out. */
export async function readDisk(
  file: RandomBytes,
  onBytes: (offset: number, bytes: Uint8Array) => void,
): Promise<Qcow2> {
  const qcow2 = await open(file)
  let end = 0
  for await (const extent of qcow2.extents()) {
    assert.ok(extent.length > 0 && extent.offset >= end, 'extents ascend')
    end = extent.offset + extent.length
    assert.ok(end <= qcow2.virtualSize, 'extents lie on the disk')
    if (extent.kind === 'plain') {
      assert.equal(
        Math.floor(extent.offset / MiB),
        Math.floor((end - 1) / MiB),
        'a plain extent lies in one MiB',
      )
    }
    onBytes(extent.offset, await readExtent(file, qcow2, extent))
  }
  await qcow2.finish()
  return qcow2
}

/** A whole small disk. */
export async function diskOf(file: RandomBytes): Promise<Uint8Array> {
  const parts: Array<readonly [number, Uint8Array]> = []
  const { virtualSize } = await readDisk(file, (offset, bytes) => parts.push([offset, bytes]))
  const disk = new Uint8Array(virtualSize)
  for (const [offset, bytes] of parts) disk.set(bytes, offset)
  return disk
}

/** Asserts that a file is refused as `category`, with and without its size known from the start. */
export async function assertRefused(content: Uint8Array, category: RefusalCategory): Promise<void> {
  for (const sized of [true, false]) {
    await assert.rejects(
      readDisk(fileOf(content, { sized }), () => {}),
      (error) => {
        assert.ok(error instanceof Refusal, String(error))
        assert.equal(error.category, category, `${error.message} (size ${sized ? '' : 'not '}known)`)
        return true
      },
    )
  }
}

/** Bytes that look random and do not compress; the same for the same seed. */
export function noise(length: number, seed: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[index] = state
  }
  return new Uint8Array(words.buffer, 0, length)
}

/** Bytes that compress to about a third. */
export function texty(length: number, seed: number): Uint8Array {
  return noise(length, seed).map((byte) => 97 + (byte & 3))
}

/** Asserts that work takes little processor time; machines that run tests may be busy. */
export async function assertQuick(cpuMs: number, work: () => Promise<unknown>): Promise<void> {
  const begun = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(begun)
  assert.ok((user + system) / 1000 < cpuMs, `${(user + system) / 1000} ms of CPU, at most ${cpuMs}`)
}
