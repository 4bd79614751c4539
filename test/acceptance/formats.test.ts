import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { diskBytes, gzipMember, runTool } from '../support/compressed-streams.ts'
import { startDaemon } from '../support/daemon.ts'
import { startFileServer } from '../support/file-server.ts'
import { HOSTILE, HOSTILE_SIZE_LIMIT } from '../support/hostile-images.ts'
import {
  assertFails,
  assertNothingLeft,
  assertReadsBack,
  execute,
  forEach,
  register,
  settled,
} from '../support/registration.ts'
import { needs } from '../support/tools.ts'

const MiB = 1024 * 1024
const K64 = 65_536
const LIMIT_MS = 10_000
const AT_ONCE = 4

/** Bytes like those of a disk that a machine starts from, with an empty stretch of more than a block. */
function bootDisk(length: number): Buffer {
  const disk = diskBytes(length, 7)
  disk.set([0xeb, 0x63, 0x90])
  disk.set([0x55, 0xaa], 510)
  return disk.fill(0, MiB, 2 * MiB + K64)
}

const DISK = bootDisk(4 * MiB + K64)
const ODD_DISK = bootDisk(3 * MiB + 1234)

/** Files of DISK, with how each is made. */
const STREAMS: Readonly<Record<string, () => Uint8Array>> = {
  raw: () => DISK,
  'lz4 frame': () => runTool('lz4 -c', DISK),
  'lz4 dependent blocks': () => runTool('lz4 -BD -B4 -c', DISK),
  'lz4 legacy': () => runTool('lz4 -l -c', DISK),
  'xz one block': () => runTool('xz -1 -T1 -c', DISK),
  'xz many blocks': () => runTool('xz -1 -T2 --block-size=1MiB -c', DISK),
  'gzip two members': () =>
    Buffer.concat([DISK.subarray(0, MiB), DISK.subarray(MiB)].map((plain) => gzipMember({ plain }))),
  zstd: () => zstdCompressSync(DISK),
}

/** Files of DISK by `qemu-img convert`, with its options. */
const QCOW2: Readonly<Record<string, readonly string[]>> = {
  'qcow2 version 2': ['-o', 'compat=0.10'],
  'qcow2 version 3': ['-o', 'compat=1.1'],
  'qcow2 deflate': ['-c', '-o', 'compression_type=zlib'],
  'qcow2 zstd': ['-c', '-o', 'compression_type=zstd'],
  'qcow2 extended_l2': ['-o', 'extended_l2=on'],
}

const fileName = (name: string) => name.replaceAll(' ', '-')

describe('formats', needs('bash', 'find', 'lz4', 'qemu-img', 'xz'), () => {
  let folder: string
  let server: Awaited<ReturnType<typeof startFileServer>>

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'formats-'))
    server = await startFileServer(folder)
  })
  after(async () => {
    await server?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  const path = (name: string) => join(folder, fileName(name))

  test('valid images read back identical in all three forms', async () => {
    for (const [name, make] of Object.entries(STREAMS)) await writeFile(path(name), make())
    for (const [name, options] of Object.entries(QCOW2))
      await execute('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, path('raw'), path(name)])
    await writeFile(path('qcow2 in xz'), runTool('xz -1 -c', await readFile(path('qcow2 version 3'))))
    await writeFile(path('raw of odd length'), ODD_DISK)
    const names = [...Object.keys(STREAMS), ...Object.keys(QCOW2), 'qcow2 in xz', 'raw of odd length']
    // A disk has whole sectors: what is missing of the last one reads as zeros.
    const odd = Buffer.concat([ODD_DISK, Buffer.alloc(-ODD_DISK.length & 511)])

    await using daemon = await startDaemon()
    await forEach(names, AT_ONCE, async (name) => {
      const disk = name === 'raw of odd length' ? odd : DISK
      const { id } = await register(daemon, server.url(fileName(name)))
      const image = await settled(daemon, id, LIMIT_MS)
      assert.equal(image.status, 'available', JSON.stringify(image.failure))
      assert.equal(image.virtual_size, Math.ceil(disk.length / MiB))
      await assertReadsBack(daemon, id, { sha256: createHash('sha256').update(disk).digest('hex'), folder })
    })
  })

  test('hostile images are refused with the right reason, in time, and leave nothing', async () => {
    for (const [name, , make] of HOSTILE) await writeFile(path(name), make())
    const config = path('settings.ini')
    await writeFile(config, `[limits]\nvirtual_size = ${HOSTILE_SIZE_LIMIT / MiB} MiB\n`)
    await using daemon = await startDaemon({ arguments: ['--config', config] })
    await forEach(HOSTILE, AT_ONCE, async ([name, code]) => {
      await assertFails(daemon, server.url(fileName(name)), { codes: [code], limitMs: LIMIT_MS })
    })
    await assertNothingLeft(daemon, config)
  })
})
