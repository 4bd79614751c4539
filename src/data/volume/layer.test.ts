import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { GiB, KiB, MiB, TiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { Refusal, type RefusalCategory } from '#base/refusal.ts'
import { createRandom } from '../../../test/support/random-disk.ts'
import { needs } from '../../../test/support/tools.ts'
import { createLayer } from './create-layer.ts'
import { openLayer } from './open-layer.ts'
import { run, writeTo } from './volume.fixtures.ts'
import type { LayerPart } from './volume.ts'

const seed = randomInt(2 ** 31)
const never = new AbortController().signal
const isError = (code: string) => (error: unknown) => error instanceof LibraryError && error.code === code
const refused = (category: RefusalCategory) => (error: unknown) =>
  error instanceof Refusal && error.category === category

describe(`layers (seed ${seed})`, () => {
  let folder: string
  let count = 0
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'layers-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  async function newLayer(size: number): Promise<string> {
    const path = join(folder, `layer-${count++}.qcow2`)
    await createLayer(path, size)
    return path
  }

  async function partsOf(path: string, sizeLimit = 64 * TiB): Promise<LayerPart[]> {
    await using layer = await openLayer(path, { sizeLimit })
    return await Array.fromAsync(layer.parts(never))
  }

  /** Changes bytes of a file. */
  async function patch(path: string, offset: number, bytes: Uint8Array): Promise<void> {
    const content = await readFile(path)
    content.set(bytes, offset)
    await writeFile(path, content)
  }

  const word = (value: number) => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return bytes
  }
  const long = (value: bigint) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(value)
    return bytes
  }

  for (const [name, size] of [
    ['one sector', 512],
    ['an odd size', 5 * MiB + 512 * 3],
    ['512 MiB', 512 * MiB],
    ['30 GiB', 30 * GiB],
    ['64 TiB', 64 * TiB],
  ] as const) {
    test(
      `a new layer for ${name} is clean to QEMU, empty, small, and its owner's alone`,
      needs('qemu-img'),
      async () => {
        const path = await newLayer(size)
        assert.match(run('qemu-img', 'check', '-f', 'qcow2', path), /No errors were found/)
        const info = JSON.parse(run('qemu-img', 'info', '-f', 'qcow2', '--output=json', path))
        assert.equal(info['virtual-size'], size)
        assert.equal(info['backing-filename'], undefined)
        assert.deepEqual(await partsOf(path), [])
        await using layer = await openLayer(path, { sizeLimit: size })
        assert.equal(layer.size, size)
        const { mode, blocks } = await stat(path)
        assert.equal(mode & 0o777, 0o600)
        assert.ok(blocks * 512 <= 64 * KiB, `${blocks * 512} bytes on disk`)
      },
    )
  }

  test(
    'QEMU writes at both ends of the largest layer, and what it wrote is found',
    needs('qemu-io'),
    async () => {
      const size = 64 * TiB
      const path = await newLayer(size)
      writeTo({ layers: [path] }, 'write -P 7 0 4k', `write -P 9 ${size - 4096} 4k`)
      const parts = await partsOf(path)
      assert.deepEqual(
        parts.map(({ offset, length }) => [offset, length]),
        [
          [0, 64 * KiB],
          [size - 64 * KiB, 64 * KiB],
        ],
      )
      assert.match(run('qemu-img', 'check', '-f', 'qcow2', path), /No errors were found/)
    },
  )

  test('parts are cut at every MiB, joined within, and end with the disk', needs('qemu-io'), async () => {
    const size = 3 * MiB + 512
    const path = await newLayer(size)
    writeTo({ layers: [path] }, `write -P 3 ${MiB - 64 * KiB} ${2 * MiB + 64 * KiB + 512}`)
    writeTo({ layers: [path] }, `write -P 4 ${3 * MiB} 512`)
    const parts = await partsOf(path)
    assert.deepEqual(
      parts.map(({ offset, length }) => [offset, length]),
      [
        [MiB - 64 * KiB, 64 * KiB],
        [MiB, MiB],
        [2 * MiB, MiB],
        [3 * MiB, 512],
      ],
    )
    await using layer = await openLayer(path, { sizeLimit: size })
    const last = parts.at(-1)
    const bytes = new Uint8Array(512)
    await layer.readAt(bytes, last?.hostOffset ?? 0)
    assert.ok(bytes.every((byte) => byte === 4))
  })

  test(
    'what is zeroed or discarded is told as zeros, with and without a place in the file',
    needs('qemu-io'),
    async () => {
      const base = join(folder, 'base.raw')
      await writeFile(base, Buffer.alloc(4 * MiB, 1))
      const path = await newLayer(4 * MiB)
      const chain = { base, layers: [path] }
      writeTo(chain, 'write -P 5 0 256k', 'write -z 64k 64k', 'write -z -u 128k 64k', 'discard 192k 64k')
      writeTo(chain, 'write -z 1M 1M', 'discard 3M 64k')
      const parts = await partsOf(path)
      assert.deepEqual(
        parts.map(({ offset, length, hostOffset }) => [offset / KiB, length / KiB, hostOffset === undefined]),
        [
          [0, 64, false],
          [64, 192, true],
          [1024, 1024, true],
          [3072, 64, true],
        ],
      )
    },
  )

  test('the name of a backing file is neither followed nor minded', needs('qemu-img'), async () => {
    const path = await newLayer(MiB)
    run('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/shadow', path)
    assert.deepEqual(await partsOf(path), [])
  })

  test('a layer takes no other file’s place, and follows no link', async () => {
    const path = await newLayer(MiB)
    const before = await readFile(path)
    await assert.rejects(createLayer(path, 2 * MiB), isError('conflict'))
    assert.deepEqual(await readFile(path), before)
    const dangling = join(folder, 'dangling')
    await symlink(join(folder, 'elsewhere'), dangling)
    await assert.rejects(createLayer(dangling, MiB), isError('conflict'))
    await assert.rejects(stat(join(folder, 'elsewhere')), { code: 'ENOENT' })
  })

  test('a layer in a folder that is not there cannot be made, and the error says why', async () => {
    await assert.rejects(createLayer(join(folder, 'none', 'layer'), MiB), isError('unavailable'))
  })

  test('what is not a file of its own is refused without waiting', async () => {
    const path = await newLayer(MiB)
    await assert.rejects(openLayer(join(folder, 'none'), { sizeLimit: MiB }), isError('not_found'))
    const link = join(folder, 'link')
    await symlink(path, link)
    await assert.rejects(openLayer(link, { sizeLimit: MiB }), isError('invalid'))
    const inner = join(folder, 'inner')
    await mkdir(inner)
    await assert.rejects(openLayer(inner, { sizeLimit: MiB }), isError('invalid'))
    const pipe = join(folder, 'pipe')
    run('mkfifo', pipe)
    await assert.rejects(openLayer(pipe, { sizeLimit: MiB }), isError('invalid'))
    const empty = join(folder, 'empty')
    await writeFile(empty, '')
    await assert.rejects(openLayer(empty, { sizeLimit: MiB }), refused('truncated'))
  })

  test(
    'a layer of another shape than ours, or larger than its disk may be, is refused',
    needs('qemu-img'),
    async () => {
      for (const options of ['cluster_size=4k', 'compat=0.10', 'extended_l2=on', 'data_file=data']) {
        const path = join(folder, options)
        run('sh', '-c', `cd ${folder} && qemu-img create -q -f qcow2 -o ${options} ${options} 1M`)
        await assert.rejects(openLayer(path, { sizeLimit: MiB }), Refusal, options)
      }
      const path = await newLayer(2 * MiB)
      await assert.rejects(openLayer(path, { sizeLimit: MiB }), refused('too-large'))
    },
  )

  test('a mark of corruption is believed, a mark of an unclean end is no harm', async () => {
    const path = await newLayer(MiB)
    await patch(path, 72, long(1n))
    assert.deepEqual(await partsOf(path), [])
    await patch(path, 72, long(2n))
    await assert.rejects(partsOf(path), refused('marked-corrupt'))
  })

  test('entries that QEMU does not write are refused', needs('qemu-io'), async () => {
    const path = await newLayer(MiB)
    writeTo({ layers: [path] }, 'write -P 7 0 4k')
    const intact = await readFile(path)
    const l1 = 3 * 64 * KiB
    const l2 = Number(intact.readBigUInt64BE(l1) & 0x00ffffffffffffffn)
    for (const [what, offset, bytes, category] of [
      ['a table past the end', l1, long(1n << 40n), 'truncated'],
      ['a table far past any end', l1, long((1n << 56n) - 65536n), 'truncated'],
      ['a table between clusters', l1, long(512n), 'bad-entry'],
      ['an L1 table past the end', 40, long((1n << 62n) + (1n << 16n)), 'truncated'],
      ['too many L1 entries', 36, word(2 ** 31), 'bad-table'],
      ['a reserved bit', l2, long(1n << 57n), 'bad-entry'],
      ['a compressed cluster', l2, long(1n << 62n), 'bad-entry'],
      ['an encrypted disk', 32, word(1), 'encrypted'],
    ] as const) {
      await writeFile(path, intact)
      await patch(path, offset, bytes)
      await assert.rejects(partsOf(path), refused(category), what)
    }
  })

  test('data past the end of the file are zeros, as QEMU reads them', needs('qemu-io'), async () => {
    const path = await newLayer(MiB)
    writeTo({ layers: [path] }, 'write -P 7 0 128k')
    const { size } = await stat(path)
    await truncate(path, size - 64 * KiB - 512)
    await using layer = await openLayer(path, { sizeLimit: MiB })
    const parts = await Array.fromAsync(layer.parts(never))
    assert.deepEqual(
      parts.map(({ length, hostOffset }) => [length / KiB, hostOffset === undefined]),
      [
        [64, false],
        [64, true],
      ],
    )
    const bytes = new Uint8Array(64 * KiB)
    await layer.readAt(bytes, parts[0]?.hostOffset ?? 0)
    assert.equal(bytes[64 * KiB - 513], 7)
    assert.equal(bytes[64 * KiB - 512], 0)
  })

  test('a layer with any bytes changed keeps its promises or is refused', needs('qemu-io'), async () => {
    const random = createRandom(seed)
    const path = await newLayer(4 * MiB)
    writeTo({ layers: [path] }, 'write -P 1 0 128k', 'write -z 1M 128k', 'write -P 2 3M 4k')
    const intact = await readFile(path)
    const l1 = 3 * 64 * KiB
    const tables = [0, l1, Number(intact.readBigUInt64BE(l1) & 0xffffffffffffffn)]
    const outcomes = { read: 0, refused: 0 }
    for (let round = 0; round < 600; round++) {
      const changed = Buffer.from(intact)
      for (let change = Math.ceil(random() * 3); change > 0; change--) {
        const table = tables[Math.floor(random() * tables.length)] ?? 0
        changed[table + Math.floor(random() * 112)] = Math.floor(random() * 256)
      }
      const length = random() < 0.2 ? Math.floor(random() * changed.length) : changed.length
      await writeFile(path, changed.subarray(0, length))
      try {
        await using layer = await openLayer(path, { sizeLimit: GiB })
        let end = 0
        for await (const part of layer.parts(never)) {
          assert.ok(part.offset >= end && part.length > 0, `round ${round}: parts ascend`)
          end = part.offset + part.length
          assert.ok(end <= layer.size, `round ${round}: parts lie on the disk`)
          assert.equal(Math.floor(part.offset / MiB), Math.floor((end - 1) / MiB))
          if (part.hostOffset !== undefined) await layer.readAt(new Uint8Array(part.length), part.hostOffset)
        }
        outcomes.read++
      } catch (error) {
        assert.ok(error instanceof Refusal, `round ${round}: ${error}`)
        outcomes.refused++
      }
    }
    assert.ok(outcomes.read > 0 && outcomes.refused > 0, JSON.stringify(outcomes))
  })

  test('the walk ends with the reason of its signal', async () => {
    const stopping = new AbortController()
    await using layer = await openLayer(await newLayer(MiB), { sizeLimit: MiB })
    stopping.abort(new Error('stopped'))
    await assert.rejects(Array.fromAsync(layer.parts(stopping.signal)), /stopped/)
  })
})
