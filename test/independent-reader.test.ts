/** docs/design.md is complete: a reader written from it alone gets the same disk out of a store's folder. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { mkdtemp, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { openDisk } from '#data/form/disk-reader.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { plainBytes, randomDisk, storeDisk } from './support/store-disk.ts'
import { needs } from './support/tools.ts'

const READER = join(import.meta.dirname, 'support', 'independent-reader.py')
const seed = randomInt(2 ** 31)

async function openStore(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'independent-'))
  t.after(() => rm(folder, { recursive: true }))
  return { folder, store: await openFilesystemStore(folder) }
}

async function sha256(parts: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256')
  for await (const part of parts) hash.update(part)
  return hash.digest('hex')
}

function readIndependently(folder: string, digest: string) {
  return spawnSync('python3', [READER, folder, digest], { maxBuffer: 2 ** 30 })
}

test('independent reader: gets the same disk as ours out of a store', needs('python3'), async (t) => {
  const { folder, store } = await openStore(t)
  for (const size of [512, MiB, 9 * MiB + 512 * 77]) {
    const disk = randomDisk(seed, size)
    const digest = await storeDisk(store, disk)
    const { status, stdout, stderr } = readIndependently(folder, digest)
    assert.equal(status, 0, `${stderr}, seed ${seed}`)
    await using reader = await openDisk(store, digest)
    const ours = await reader.read(0, size, AbortSignal.timeout(60_000))
    assert.ok(stdout.equals(ours) && stdout.equals(plainBytes(disk)), `${size} bytes, seed ${seed}`)
  }
})

test('independent reader: finds its way over pages, those of zeros too', needs('python3'), async (t) => {
  const { folder, store } = await openStore(t)
  const blocks = new Map([
    [515, Buffer.alloc(MiB, 'text')],
    [517, Buffer.alloc(1024, 'end')],
  ])
  const size = 517 * MiB + 1024
  const digest = await storeDisk(store, { size, block: (index) => blocks.get(index) })
  await using reader = await openDisk(store, digest)
  const ours = await sha256(reader.stream(0, size, AbortSignal.timeout(60_000)))
  const child = spawn('python3', [READER, folder, digest], { stdio: ['ignore', 'pipe', 'inherit'] })
  assert.equal(await sha256(child.stdout), ours)
})

test('independent reader: refuses a damaged block', needs('python3'), async (t) => {
  const { folder, store } = await openStore(t)
  const digest = await storeDisk(store, randomDisk(seed, 512, 0))
  const [block] = await Array.fromAsync(store.blocks.list())
  await truncate(join(folder, 'blocks', block!.digest.slice(0, 2), block!.digest), block!.size - 1)
  const { status, stderr } = readIndependently(folder, digest)
  assert.equal(status, 1)
  assert.match(stderr.toString(), /bytes at rest/)
})
