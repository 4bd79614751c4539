import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { GiB, MiB, TiB } from '#base/bytes.ts'
import { createReserve } from './reserve.ts'

const disk = (size: number, free: number) => () => ({ bsize: 4096, blocks: size / 4096, bavail: free / 4096 })
const reserveOn = (size: number, free: number, bytes?: number) =>
  createReserve({ directory: '/', bytes, statfs: disk(size, free) })

test('reserve: what would leave less than it is refused, what leaves as much is not', () => {
  const reserve = reserveOn(GiB, 100 * MiB, 40 * MiB)
  reserve.demand(60 * MiB)
  assert.throws(() => reserve.demand(60 * MiB + 1), { code: 'unavailable', hint: /collect/ })
})

test('reserve: by default a hundredth of the disk, from 4 to 256 MiB', () => {
  for (const [size, kept] of [
    [24 * MiB, 4 * MiB],
    [1000 * MiB, 10 * MiB],
    [TiB, 256 * MiB],
  ] as const) {
    reserveOn(size, kept).demand(0)
    assert.throws(() => reserveOn(size, kept - 4096).demand(0), { code: 'unavailable' })
  }
})

test('reserve: it looks at the real file system', () => {
  createReserve({ directory: tmpdir(), bytes: 0 }).demand(0)
  assert.throws(() => createReserve({ directory: tmpdir(), bytes: 2 ** 52 }).demand(0), {
    code: 'unavailable',
  })
})

test('reserve: what was announced is kept for it until it is there, or is given up', () => {
  const reserve = reserveOn(GiB, 100 * MiB, 40 * MiB)
  const first = reserve.promise(50 * MiB)
  assert.throws(() => reserve.promise(11 * MiB), {
    name: 'NoRoom',
    code: 'unavailable',
    message: [
      `the storage is too full for ${11 * MiB} bytes more: ${100 * MiB} are free, `,
      `${50 * MiB} are promised to others, ${40 * MiB} must stay free`,
    ].join(''),
  })
  reserve.promise(10 * MiB)
  // Those who are under way are not stopped by what others only announced.
  reserve.demand(60 * MiB)
  first.set(20 * MiB)
  reserve.promise(30 * MiB)[Symbol.dispose]()
  first[Symbol.dispose]()
  reserve.promise(50 * MiB)
  assert.throws(() => reserve.promise(1), { name: 'NoRoom' })
})
