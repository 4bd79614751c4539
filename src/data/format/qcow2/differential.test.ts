import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { KiB, type RandomBytes } from '#base/bytes.ts'
import { needs } from '../../../../test/support/tools.ts'
import { diskOf } from './qcow2.fixtures.ts'

/** Chains of commands; more of them with QCOW2_RUNS, the same again with QCOW2_SEED. */
const RUNS = Number(process.env.QCOW2_RUNS ?? 60)
const SEED = Number(process.env.QCOW2_SEED ?? randomInt(2 ** 31))

const run = promisify(execFile)

type Random = (limit: number) => number

function createRandom(seed: number): Random {
  let state = seed >>> 0
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}

interface Kind {
  readonly clusterSize: number
  readonly size: number
  readonly options: string
  /** QEMU 7.2 corrupts images itself where compressed and plain writes are mixed. */
  readonly writesCompressed: boolean
}

function randomKind(random: Random): Kind {
  const isOld = random(6) === 0
  const isExtended = !isOld && random(3) === 0
  const clusterSize = 1 << ((isExtended ? 14 : 9) + random(isExtended ? 8 : 13))
  const options = [
    `cluster_size=${clusterSize}`,
    isOld
      ? 'compat=0.10'
      : `compat=1.1,refcount_bits=${1 << random(7)},lazy_refcounts=${random(4) ? 'off' : 'on'}`,
    ...(isExtended ? ['extended_l2=on'] : []),
    ...(!isOld && random(2) ? ['compression_type=zstd'] : []),
    ...(random(5) === 0 ? [`preallocation=${['metadata', 'falloc', 'full'][random(3)]}`] : []),
  ]
  const clusters = clusterSize < 4 * KiB ? 600 : clusterSize < 256 * KiB ? 60 : 4
  const size = 512 * (1 + random((clusters * clusterSize) / 512))
  return { clusterSize, size, options: options.join(','), writesCompressed: random(4) === 0 }
}

/** One qemu-io command on a range of the disk. */
function randomCommand(random: Random, { size, clusterSize, writesCompressed }: Kind): string {
  const offset = 512 * random(size / 512)
  const length = Math.min(size - offset, 512 * (1 + random(random(2) ? 16 : 1024)))
  const pattern = 1 + random(255)
  if (writesCompressed) {
    const cluster = clusterSize * random(Math.ceil(size / clusterSize))
    return `write -c -P ${pattern} ${cluster} ${Math.min(clusterSize, size - cluster)}`
  }
  switch (random(6)) {
    case 0:
      return `write -z ${offset} ${length}`
    case 1:
      return `write -z -u ${offset} ${length}`
    case 2:
      return `discard ${offset} ${length}`
    default:
      return `write -P ${pattern} ${offset} ${length}`
  }
}

/**
 * Some commands fail, such as compressed writes over preallocated clusters, and snapshots where reference counts of
 * two bits overflow; the image is what it is then.
 */
async function attempt(tool: 'qemu-img' | 'qemu-io', options: readonly string[]): Promise<void> {
  await run(tool, options).catch(() => {})
}

function write(path: string, commands: readonly string[]): Promise<void> {
  return attempt('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path])
}

/** Makes an image by a chain of commands; gives its path. */
async function makeImage(folder: string, random: Random): Promise<string> {
  const path = join(folder, 'disk.qcow2')
  const kind = randomKind(random)
  let { size } = kind // what was asked for: commands past the end fail
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', kind.options, path, String(size)])
  const rounds = 1 + random(3)
  for (let round = 0; round < rounds; round++) {
    const commands = Array.from({ length: 1 + random(12) }, () => randomCommand(random, { ...kind, size }))
    await write(path, commands)
    const next = random(4)
    if (next === 0) await attempt('qemu-img', ['snapshot', '-c', `s${round}`, path])
    if (next === 1) {
      size += 512 * random(kind.clusterSize / 64)
      await attempt('qemu-img', ['resize', '-q', '-f', 'qcow2', path, String(size)])
    }
  }
  if (random(3) > 0) return path
  const packed = join(folder, 'packed.qcow2')
  const options = kind.options.replace(/,preallocation=\w+/, '')
  await run('qemu-img', ['convert', '-c', '-f', 'qcow2', '-O', 'qcow2', '-o', options, path, packed])
  if (random(2) > 0) return packed
  const over = Array.from({ length: 4 }, () =>
    randomCommand(random, { ...kind, size, writesCompressed: false }),
  )
  await write(packed, over)
  return packed
}

async function sha256OfReference(folder: string, path: string): Promise<string> {
  const raw = join(folder, 'disk.raw')
  await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, raw])
  const { stdout } = await run('sha256sum', [raw])
  return stdout.slice(0, 64)
}

async function sha256OfOurs(path: string): Promise<string> {
  const fd = openSync(path, 'r')
  const file: RandomBytes = {
    size: statSync(path).size,
    readAt: async (target, offset) => readSync(fd, target, 0, target.length, offset),
  }
  try {
    return createHash('sha256')
      .update(await diskOf(file))
      .digest('hex')
  } finally {
    closeSync(fd)
  }
}

test('random images read as QEMU reads them', needs('qemu-img', 'qemu-io'), async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'qcow2-'))
  t.after(() => rm(folder, { recursive: true }))
  let corrupted = 0
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    const again = `QCOW2_SEED=${seed} QCOW2_RUNS=1`
    const path = await makeImage(folder, createRandom(seed)).catch((cause: unknown) => {
      throw new Error(`making the image failed: ${again}`, { cause })
    })
    if (!isSound(path)) {
      corrupted++
      continue
    }
    const ours = await sha256OfOurs(path).catch((cause: unknown) => {
      throw new Error(`reading the image failed: ${again}`, { cause })
    })
    assert.equal(ours, await sha256OfReference(folder, path), again)
  }
  assert.ok(corrupted <= RUNS / 4, `${corrupted} of ${RUNS} images were corrupted by QEMU itself`)
})

/** Whether QEMU did not corrupt the image itself; leaked clusters do not count. */
function isSound(path: string): boolean {
  const check = spawnSync('qemu-img', ['check', '-q', '-f', 'qcow2', path])
  return check.status === 0 || check.status === 3
}
