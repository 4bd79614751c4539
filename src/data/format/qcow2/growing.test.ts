import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { KiB, type RandomBytes } from '#base/bytes.ts'
import { SourceFailure } from '#base/refusal.ts'
import { Qcow2Writer } from '../../../../test/support/qcow2-writer.ts'
import { diskOf, fileOf, noise, open, readDisk, texty } from './qcow2.fixtures.ts'

/** A file that arrives from its first byte on, as much at a time as it is told. */
class ArrivingFile implements RandomBytes {
  readonly #content: Uint8Array
  #arrived = 0
  #ended = false
  #fault: Error | undefined
  #waiting: Array<() => void> = []

  constructor(content: Uint8Array) {
    this.#content = content
  }

  get size(): number | undefined {
    return this.#ended ? this.#arrived : undefined
  }

  get isAwaited(): boolean {
    return this.#waiting.length > 0
  }

  receive(length: number): void {
    this.#arrived = Math.min(this.#arrived + length, this.#content.length)
    this.#wake()
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  fail(fault: Error): void {
    this.#fault = fault
    this.#wake()
  }

  async readAt(target: Uint8Array, offset: number): Promise<number> {
    while (!this.#ended && !this.#fault && offset + target.length > this.#arrived) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    if (this.#fault) throw this.#fault
    const part = this.#content.subarray(
      Math.min(offset, this.#arrived),
      Math.min(offset + target.length, this.#arrived),
    )
    target.set(part)
    return part.length
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

/** A disk with clusters of every kind in scattered order. */
function scattered(clusterBits: number): Qcow2Writer {
  const writer = new Qcow2Writer({ size: 200 << clusterBits, clusterBits })
  for (let index = 0; index < 200; index++) {
    const guest = (index * 73) % 200
    const content = (guest % 2 ? noise : texty)(writer.clusterSize, guest)
    if (guest % 5 === 0) writer.entry(guest, 1n)
    else if (guest % 3 === 0) writer.packDeflated(guest, content)
    else writer.data(guest, content)
  }
  return writer
}

test('a file that arrives in pieces gives the same disk as one that is all there', async () => {
  const seed = randomInt(2 ** 31)
  let state = seed
  const random = (limit: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return state % limit
  }
  for (const clusterBits of [9, 12, 16]) {
    const content = scattered(clusterBits).build()
    const expected = await diskOf(fileOf(content))
    for (let run = 0; run < 4; run++) {
      const file = new ArrivingFile(content)
      const disk = diskOf(file)
      for (let at = 0; at < content.length; ) {
        const length = 1 + random(content.length >> random(8))
        file.receive(length)
        at += length
        for (let wait = random(4); wait > 0; wait--) await setImmediate()
      }
      file.end()
      assert.ok(Buffer.from(expected).equals(await disk), `seed ${seed}, cluster_bits ${clusterBits}`)
    }
  }
})

test('extents are told as soon as their table is there, before their data', async () => {
  const writer = new Qcow2Writer({ size: 64 * 64 * KiB }).tablesFirst()
  const tables = writer.allocate()
  for (let guest = 0; guest < 64; guest += 2) writer.data(guest, noise(64 * KiB, guest))
  const file = new ArrivingFile(writer.build())
  file.receive(tables)
  const qcow2 = await open(file)
  assert.equal((await Array.fromAsync(qcow2.extents())).length, 32)
  let isFinished = false
  const finished = qcow2.finish().then(() => {
    isFinished = true
  })
  await setImmediate()
  assert.equal(isFinished, false)
  file.receive(2 ** 40)
  await finished
})

test('a file that ends before what nobody read is truncated all the same', async () => {
  const writer = new Qcow2Writer({ size: 4 * 64 * KiB }).tablesFirst()
  const last = writer.data(3, noise(64 * KiB, 1))
  for (const size of [last, last + 64 * KiB - 1]) {
    const file = new ArrivingFile(writer.build())
    file.receive(last)
    const qcow2 = await open(file)
    await Array.fromAsync(qcow2.extents())
    const finished = qcow2.finish()
    file.receive(size - last)
    file.end()
    await assert.rejects(finished, {
      category: 'truncated',
      message: `The file ends too early (${size} bytes). Is the download complete?`,
    })
  }
})

test('a file that ends while a header or table is awaited is truncated', async () => {
  const content = scattered(12).build()
  for (let size = 0; size < content.length - 4096; size += 50_001) {
    const file = new ArrivingFile(content)
    const read = readDisk(file, () => {})
    file.receive(size)
    await setImmediate()
    file.end()
    await assert.rejects(read, { name: 'Refusal' })
  }
})

test('a claim that the file goes on far beyond any limit is not waited for', async () => {
  const writer = new Qcow2Writer({ size: 4 * 64 * KiB }).tablesFirst()
  writer.entry(0, 1n << 40n)
  const file = new ArrivingFile(writer.build())
  file.receive(2 ** 40)
  await assert.rejects(
    readDisk(file, () => {}),
    {
      category: 'truncated',
      message: `The image needs a file of ${2 ** 40 + 1} bytes, and ${200 * 2 ** 30} is the limit.`,
    },
  )
})

test('a fault of the source ends every wait with that fault', async () => {
  const content = scattered(16).build()
  for (const size of [0, 100, 64 * KiB, content.length - 192 * KiB]) {
    const file = new ArrivingFile(content)
    const read = readDisk(file, () => {})
    file.receive(size)
    await setImmediate()
    const fault = new SourceFailure('The download failed: connection lost.', { retryable: true })
    file.fail(fault)
    await assert.rejects(read, fault)
  }
})

test('an abort ends every wait with its reason', async () => {
  const content = scattered(16).build()
  for (const size of [0, 100, 64 * KiB, 128 * KiB, 1024 * KiB]) {
    const file = new ArrivingFile(content)
    file.receive(size)
    const abort = new AbortController()
    const walk = open(file, abort.signal).then((qcow2) => Array.fromAsync(qcow2.extents()))
    const reason = new Error('cancelled')
    while (!file.isAwaited) await setImmediate()
    abort.abort(reason)
    await assert.rejects(walk, reason)
    await assert.rejects(open(file, abort.signal), reason)
  }
})
