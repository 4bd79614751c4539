import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { Refusal } from '#base/refusal.ts'
import { COPIED, Qcow2Writer } from '../../../../test/support/qcow2-writer.ts'
import { fileOf, noise, readDisk, texty } from './qcow2.fixtures.ts'

/** Small images whose every part matters. */
function images(): Uint8Array[] {
  return (['deflate', 'zstd'] as const).flatMap((compression) =>
    [9, 12, 14].map((clusterBits) => {
      const extendedL2 = clusterBits === 14
      const writer = new Qcow2Writer({ size: 40 << clusterBits, clusterBits, compression, extendedL2 })
      for (let guest = 0; guest < 40; guest += 3) writer.data(guest, noise(writer.clusterSize, guest))
      if (compression === 'deflate') {
        for (let guest = 1; guest < 40; guest += 3)
          writer.packDeflated(guest, texty(writer.clusterSize, guest))
      }
      if (extendedL2) writer.entry(2, BigInt(writer.allocate()) | COPIED, 0xff00ff00f0n)
      return writer.build()
    }),
  )
}

test('damage: whatever bytes change, a file is refused or read, quickly', async () => {
  const seed = randomInt(2 ** 31)
  let state = seed
  const random = (limit: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >>> 8) % limit
  }
  const files = images()
  const interesting = [0, 1, 0x40, 0x7f, 0x80, 0xff]
  for (let run = 0; run < 3000; run++) {
    const original = files[run % files.length] ?? new Uint8Array(0)
    const file = original.slice(0, random(10) === 0 ? random(original.length) : original.length)
    // Mostly where structure is: the header, and places that are not zero in tables.
    for (let change = 1 + random(3); change > 0; change--) {
      const at = random(2) ? random(112) : random(file.length + 1)
      file[at] = random(2) ? (interesting[random(interesting.length)] ?? 0) : random(256)
    }
    const read = readDisk(fileOf(file, { sized: random(2) === 0 }), () => {})
    await read.catch((error: unknown) => {
      assert.ok(
        error instanceof Refusal,
        `seed ${seed}, run ${run}: ${error instanceof Error && error.stack}`,
      )
    })
  }
})
