import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Layout, type Piece, readPieces } from './pieces.ts'

const open = new AbortController().signal
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()

/** Pieces of four letters each, which count how far they were loaded. */
function letters(loaded: number[] = []): Layout {
  async function* pieces(from: number): AsyncGenerator<Piece> {
    for (let offset = from - (from % 4); offset < 26; offset += 4) {
      const length = Math.min(4, 26 - offset)
      const load = () => {
        loaded.push(offset)
        return Uint8Array.from({ length }, (_, index) => 97 + offset + index)
      }
      yield { offset, length, load }
    }
  }
  return { size: 26, pieces }
}

async function readText(offset: number, length: number) {
  return text(Buffer.concat(await Array.fromAsync(readPieces(letters(), offset, length, open))))
}

test('pieces: every range is the slice of the whole', async () => {
  const whole = await readText(0, 26)
  assert.equal(whole, 'abcdefghijklmnopqrstuvwxyz')
  for (let offset = 0; offset <= 26; offset++)
    for (let length = 0; offset + length <= 26; length++)
      assert.equal(await readText(offset, length), whole.slice(offset, offset + length))
})

test('pieces: one piece is loaded ahead and no more', async () => {
  const loaded: number[] = []
  const reading = readPieces(letters(loaded), 0, 26, open)
  await reading.next()
  assert.deepEqual(loaded, [0, 4])
  await reading.next()
  assert.deepEqual(loaded, [0, 4, 8])
  await reading.return(undefined)
})

test('pieces: a reader that leaves is not followed by the failure of the piece ahead', async () => {
  async function* pieces(): AsyncGenerator<Piece> {
    yield { offset: 0, length: 1, load: () => new Uint8Array(1) }
    yield { offset: 1, length: 1, load: () => Promise.reject(new Error('disk on fire')) }
  }
  const reading = readPieces({ size: 2, pieces }, 0, 2, open)
  assert.equal((await reading.next()).value?.length, 1)
  await reading.return(undefined)
  await assert.rejects(Array.fromAsync(readPieces({ size: 2, pieces }, 0, 2, open)), /disk on fire/)
})

test('pieces: an abort ends a wait for a piece that never comes', async () => {
  async function* pieces(): AsyncGenerator<Piece> {
    yield { offset: 0, length: 1, load: () => new Promise<Uint8Array>(() => undefined) }
  }
  const controller = new AbortController()
  const reading = Array.fromAsync(readPieces({ size: 1, pieces }, 0, 1, controller.signal))
  controller.abort(new Error('gone'))
  await assert.rejects(reading, /gone/)
})

test('pieces: a range outside of the file is a bug', async () => {
  for (const [offset, length] of [
    [-1, 1],
    [0, 27],
    [26, 1],
    [0.5, 1],
    [0, Number.NaN],
    [2 ** 53, 1],
  ] as const)
    await assert.rejects(readText(offset, length), /internal error: range/)
})

test('pieces: an abort ends a wait for the next piece to become known', async () => {
  async function* pieces(): AsyncGenerator<Piece> {
    await new Promise(() => undefined)
  }
  const controller = new AbortController()
  const reading = Array.fromAsync(readPieces({ size: 1, pieces }, 0, 1, controller.signal))
  controller.abort(new Error('gone'))
  await assert.rejects(reading, /gone/)
})

test('pieces: what is lent is given back when the next piece is asked for, and when the reader leaves', async () => {
  const held = new Set<number>()
  async function* pieces(): AsyncGenerator<Piece> {
    for (let offset = 0; offset < 5; offset++) {
      const load = async () => {
        held.add(offset)
        return { bytes: Uint8Array.of(offset), [Symbol.dispose]: () => held.delete(offset) }
      }
      yield { offset, length: 1, load }
    }
  }
  const seen: number[][] = []
  for await (const _ of readPieces({ size: 5, pieces }, 0, 5, open)) seen.push([...held])
  assert.deepEqual(seen, [[0, 1], [1, 2], [2, 3], [3, 4], [4]])
  assert.equal(held.size, 0)
  for await (const _ of readPieces({ size: 5, pieces }, 0, 5, open)) break
  assert.equal(held.size, 0)
})

test('pieces: what is lent only after an abort is given back too', async () => {
  const lent = Promise.withResolvers<void>()
  const returned = Promise.withResolvers<void>()
  const started = Promise.withResolvers<void>()
  const load = async () => {
    started.resolve()
    await lent.promise
    return { bytes: new Uint8Array(1), [Symbol.dispose]: returned.resolve }
  }
  async function* pieces(): AsyncGenerator<Piece> {
    yield { offset: 0, length: 1, load }
  }
  const controller = new AbortController()
  const reading = Array.fromAsync(readPieces({ size: 1, pieces }, 0, 1, controller.signal))
  await started.promise
  controller.abort(new Error('gone'))
  await assert.rejects(reading, /gone/)
  lent.resolve()
  await returned.promise
})
