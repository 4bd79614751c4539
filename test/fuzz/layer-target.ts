import assert from 'node:assert/strict'
import { mkdtempSync, rmdirSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KiB, MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { noise, texty } from '#data/format/qcow2/qcow2.fixtures.ts'
import { openLayer } from '#data/volume/open-layer.ts'
import { COPIED, Qcow2Writer, READS_AS_ZEROS } from '../support/qcow2-writer.ts'
import { createRandom } from '../support/random-disk.ts'
import { below, pick } from './mutation.ts'
import { qcow2Fields, readQcow2 } from './qcow2-target.ts'
import type { Random, Target } from './target.ts'

const SIZE_LIMIT = 2 * MiB
const CLUSTER = 64 * KiB

async function readLayer(path: string): Promise<Uint8Array> {
  await using layer = await openLayer(path, { sizeLimit: SIZE_LIMIT })
  assert.ok(layer.size <= SIZE_LIMIT, 'the limit holds')
  const disk = new Uint8Array(layer.size)
  let end = 0
  for await (const { offset, length, hostOffset } of layer.parts(new AbortController().signal)) {
    assert.ok(length > 0 && offset >= end, 'parts ascend')
    end = offset + length
    assert.ok(end <= layer.size, 'parts lie on the disk')
    assert.equal(Math.floor(offset / MiB), Math.floor((end - 1) / MiB), 'a part lies in one MiB')
    if (hostOffset !== undefined) await layer.readAt(disk.subarray(offset, end), hostOffset)
  }
  return disk
}

function makeLayer(random: Random): Uint8Array {
  const clusters = 1 + below(8, random)
  const writer = new Qcow2Writer({ size: clusters * CLUSTER - 512 * below(100, random) })
  if (random() < 0.5) writer.tablesFirst()
  for (let guest = 0; guest < clusters; guest++) {
    const kind = random()
    if (kind < 0.3) writer.data(guest, pick([noise, texty], random)(4096, guest))
    else if (kind < 0.5) writer.entry(guest, READS_AS_ZEROS)
    else if (kind < 0.6) writer.entry(guest, BigInt(writer.allocate()) | COPIED | READS_AS_ZEROS)
    else if (kind < 0.65) writer.packDeflated(guest, texty(CLUSTER, guest))
  }
  if (random() < 0.5) writer.unpadded()
  return writer.build()
}

export const layerTarget: Target = {
  name: 'layer',
  cost: 4,
  seeds: () => Array.from({ length: 6 }, (_, seed) => makeLayer(createRandom(seed))),
  make: makeLayer,
  fields: qcow2Fields,
  async read(input) {
    const folder = mkdtempSync(join(tmpdir(), 'fuzz-layer-'))
    const path = join(folder, 'layer.qcow2')
    try {
      writeFileSync(path, input)
      const disk = await readLayer(path)
      const asImage = await readQcow2(input).catch((error: unknown) => {
        if (!(error instanceof LibraryError)) throw error
        return undefined
      })
      if (asImage)
        assert.ok(Buffer.compare(asImage, disk) === 0, 'an image of the same bytes has another disk')
      return disk
    } finally {
      unlinkSync(path)
      rmdirSync(folder)
    }
  },
}
