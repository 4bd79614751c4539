import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { GiB, KiB, MiB, TiB } from '#base/bytes.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { memoryStore } from '#data/store/memory.ts'
import { plainBytes, randomDisk, storeDisk, type TestDisk } from '../../../test/support/store-disk.ts'
import { needs } from '../../../test/support/tools.ts'
import { FORM_KINDS, type Form, type FormKind, openForm } from './form.ts'

const seed = randomInt(2 ** 31)
const lz4 = needs('lz4')
const qemuImg = needs('qemu-img')
const signal = new AbortController().signal
const folder = mkdtempSync(join(tmpdir(), 'form-'))
const file = join(folder, 'disk')
const rawFile = join(folder, 'disk.raw')
after(() => rmSync(folder, { recursive: true }))

async function openTest(disk: TestDisk, kind: FormKind): Promise<Form> {
  const store = memoryStore()
  return openForm(store, await storeDisk(store, disk), kind)
}

async function readBytes(form: Form, offset = 0, length = form.size): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(form.read(offset, length, signal)))
}

function run(tool: string, ...words: string[]): string {
  const { status, stdout, stderr } = spawnSync(tool, words, { maxBuffer: 2 ** 28 })
  assert.equal(status, 0, `${tool} ${words.join(' ')}: ${stdout} ${stderr}`)
  return stdout.toString()
}

/** Around sectors, clusters and blocks. */
const SIZES = [
  512,
  KiB,
  64 * KiB - 512,
  64 * KiB,
  64 * KiB + 512,
  MiB - 512,
  MiB,
  MiB + 512,
  2 * MiB + 192 * KiB,
  5 * MiB + 65 * KiB,
]

test('forms: any two ranges that meet are the whole, in every form', async () => {
  const random = createRandom(seed)
  const disk = randomDisk(seed, 7 * MiB + 512 * random.below(2048))
  for (const kind of FORM_KINDS) {
    await using form = await openTest(disk, kind)
    const whole = await readBytes(form)
    assert.equal(whole.length, form.size)
    for (let round = 0; round < 60; round++) {
      const offset = random.below(form.size + 1)
      const length = random.below(random.chance(0.5) ? 100 : form.size - offset + 1)
      const end = Math.min(form.size, offset + length)
      const part = await readBytes(form, offset, end - offset)
      assert.ok(part.equals(whole.subarray(offset, end)), `${kind} ${offset}..${end}, seed ${seed}`)
    }
    assert.equal((await readBytes(form, form.size, 0)).length, 0)
    await assert.rejects(readBytes(form, 1, form.size), /internal error/)
  }
})

test('raw form: is the disk', async () => {
  for (const size of SIZES) {
    const disk = randomDisk(seed, size)
    await using form = await openTest(disk, 'raw')
    assert.ok((await readBytes(form)).equals(plainBytes(disk)), `${size} bytes, seed ${seed}`)
  }
})

test('lz4 form: the lz4 tool finds it whole and gets the disk out of it', lz4, async () => {
  for (const size of SIZES) {
    const disk = randomDisk(seed, size)
    await using form = await openTest(disk, 'lz4')
    writeFileSync(file, await readBytes(form))
    run('lz4', '-t', file)
    const plain = execFileSync('lz4', ['-dc', file], { maxBuffer: 2 ** 28 })
    assert.ok(plain.equals(plainBytes(disk)), `${size} bytes, seed ${seed}`)
    assert.match(run('lz4', '--list', '-m', file), / LZ4Frame +B6I /)
  }
})

test('lz4 form: a disk of zeros and one without a byte are frames too', lz4, async () => {
  for (const size of [0, 3 * MiB + 512]) {
    await using form = await openTest({ size, block: () => undefined }, 'lz4')
    writeFileSync(file, await readBytes(form))
    assert.equal(execFileSync('lz4', ['-dc', file], { maxBuffer: 2 ** 28 }).length, size)
  }
})

test('qcow2 form: passes qemu-img check and converts to the disk', qemuImg, async () => {
  for (const [index, size] of SIZES.entries()) {
    const disk = randomDisk(seed + index, size, index % 3 === 0 ? 0 : 0.4)
    await using form = await openTest(disk, 'qcow2')
    writeFileSync(file, await readBytes(form))
    writeFileSync(rawFile, plainBytes(disk))
    const where = `${size} bytes, seed ${seed}`
    const report = JSON.parse(run('qemu-img', 'check', '--output=json', '-f', 'qcow2', file))
    assert.equal(report['check-errors'], 0, where)
    assert.equal(report['image-end-offset'], form.size, where)
    run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', file, rawFile)
    run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', file, `${rawFile}2`)
    assert.ok(readFileSync(`${rawFile}2`).equals(plainBytes(disk)), where)
  }
})

test('qcow2 form: zero blocks take no room, and all of a region of them no table', qemuImg, async () => {
  const data = Buffer.alloc(MiB, 'data')
  const disk = { size: GiB + 512, block: (index: number) => (index === 700 ? data : undefined) }
  await using form = await openTest(disk, 'qcow2')
  // header, refcount table and block, L1 table, one L2 table, one block
  assert.equal(form.size, 5 * 64 * KiB + MiB)
  writeFileSync(file, await readBytes(form))
  const map = JSON.parse(run('qemu-img', 'map', '--output=json', '-f', 'qcow2', file))
  const shown = map.map(({ start, length, data }: Record<string, unknown>) => ({ start, length, data }))
  assert.deepEqual(shown, [
    { start: 0, length: 700 * MiB, data: false },
    { start: 700 * MiB, length: MiB, data: true },
    { start: 701 * MiB, length: GiB + 512 - 701 * MiB, data: false },
  ])
})

/** Writes the tables of a qcow2 form and of its data only the length. */
async function writeSparse(form: Form, tables: number): Promise<void> {
  const fd = openSync(file, 'w')
  let at = 0
  for await (const bytes of form.read(0, tables, signal)) at += writeSync(fd, bytes, 0, bytes.length, at)
  ftruncateSync(fd, form.size)
  closeSync(fd)
}

test('qcow2 form: dense disks around pages and refcount blocks pass qemu-img check', qemuImg, async () => {
  const data = Buffer.alloc(MiB, 'data')
  const short = Buffer.alloc(512, 'data')
  for (const blocks of [511, 512, 513, 2046, 2047, 2048, 2049]) {
    const size = blocks * MiB + 512
    await using form = await openTest({ size, block: (index) => (index < blocks ? data : short) }, 'qcow2')
    const tables = form.size - blocks * MiB - 64 * KiB
    await writeSparse(form, tables)
    const report = JSON.parse(run('qemu-img', 'check', '--output=json', '-f', 'qcow2', file))
    assert.equal(report['allocated-clusters'], blocks * 16 + 1)
    assert.equal(report['image-end-offset'], form.size)
    assert.ok((await readBytes(form, tables + 5 * MiB, MiB)).equals(data))
    assert.equal((await readBytes(form, form.size - 64 * KiB, 512)).toString(), short.toString())
  }
})

test(
  'qcow2 form: sparse 2 TiB and dense 64 GiB have the sizes that arithmetic gives, and are sound',
  qemuImg,
  async () => {
    const data = Buffer.alloc(MiB, 'data')
    const last = 2 * MiB - 1
    const sparse = {
      size: 2 * TiB,
      block: (index: number) => ([0, 900_000, last].includes(index) ? data : undefined),
    }
    await using form = await openTest(sparse, 'qcow2')
    assert.equal(form.size, 7 * 64 * KiB + 3 * MiB)
    writeFileSync(file, await readBytes(form))
    run('qemu-img', 'check', '-f', 'qcow2', file)
    const info = JSON.parse(run('qemu-img', 'info', '--output=json', '-f', 'qcow2', file))
    assert.equal(info['virtual-size'], 2 * TiB)
    const map = JSON.parse(run('qemu-img', 'map', '--output=json', '-f', 'qcow2', file))
    const starts = map.filter((extent: { data: boolean }) => extent.data)
    assert.deepEqual(
      starts.map((extent: { start: number }) => extent.start),
      [0, 900_000 * MiB, last * MiB],
    )

    await using dense = await openTest({ size: 64 * GiB, block: () => data }, 'qcow2')
    await writeSparse(dense, dense.size - 64 * GiB)
    run('qemu-img', 'check', '-f', 'qcow2', file)
  },
)

test('forms: the last bytes of a dense 1 TiB disk are read by touching one page', async () => {
  const data = Buffer.alloc(MiB, 'data')
  const store = memoryStore()
  const digest = await storeDisk(store, { size: TiB, block: () => data })
  let reads = 0
  const manifests: typeof store.manifests = {
    claim: (each) => store.manifests.claim(each),
    sizeOf: (each) => store.manifests.sizeOf(each),
    put: (each, parts) => store.manifests.put(each, parts),
    mend: (each, parts) => store.manifests.mend(each, parts),
    remove: (each, since) => store.manifests.remove(each, since),
    list: () => store.manifests.list(),
    quarantine: (each) => store.manifests.quarantine(each),
    async open(each) {
      const opened = await store.manifests.open(each)
      const readAt = (target: Uint8Array, offset: number) => {
        reads++
        return opened.readAt(target, offset)
      }
      return { size: opened.size, readAt, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() }
    },
  }
  for (const kind of FORM_KINDS) {
    await using form = await openForm({ ...store, manifests }, digest, kind)
    reads = 0
    await readBytes(form, form.size - 100, 100)
    await readBytes(form, form.size - 64 * KiB, 100)
    assert.ok(reads <= 1, `${kind}: ${reads} reads`)
  }
})

test('forms: each has an etag of its own that stays, a content type and a suffix', async () => {
  const store = memoryStore()
  const digest = await storeDisk(store, randomDisk(1, MiB))
  const shown = []
  for (const kind of FORM_KINDS) {
    await using form = await openForm(store, digest, kind)
    assert.equal(form.etag, `"${kind}-1-${digest}"`)
    shown.push([kind, form.fileSuffix, form.contentType])
  }
  assert.deepEqual(shown, [
    ['lz4', '.lz4', 'application/x-lz4'],
    ['raw', '.raw', 'application/octet-stream'],
    ['qcow2', '.qcow2', 'application/x-qcow2'],
  ])
})

test('forms: one that cannot be is refused, and a manifest that is not there is not found', async () => {
  const store = memoryStore()
  const digest = await storeDisk(store, randomDisk(1, 700, 0))
  await assert.rejects(openForm(store, digest, 'qcow2'), { code: 'invalid' })
  await using raw = await openForm(store, digest, 'raw')
  assert.equal((await readBytes(raw)).length, 700)
  await assert.rejects(openForm(store, '0'.repeat(64), 'raw'), { code: 'not_found' })
})

test('forms: the bytes of known disks never change', async () => {
  const digests: Record<string, string> = {}
  for (const kind of FORM_KINDS) {
    await using form = await openTest(randomDisk(42, 3 * MiB + 512), kind)
    digests[kind] = createHash('sha256')
      .update(await readBytes(form))
      .digest('hex')
  }
  assert.deepEqual(digests, {
    lz4: 'a469dc2c35cbf08d2dd3eb9b4ac5a396733c2f81946a63672dc7cac7bc94d793',
    raw: '7485d835da8d9fb4cdaacd7f07bb13c9145f0559a49a75a12be698dfdc484f09',
    qcow2: '7e57894f121cfb573518fa7f505b598daa0c7869fcdf2ef52e1baf74585e3be6',
  })
})
