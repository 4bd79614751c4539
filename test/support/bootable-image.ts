import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { CACHE, type GuestParts, guestParts } from './guest-parts.ts'
import { createRandom, fillLikeDisk } from './random-disk.ts'

/** Which hardware the guest has drivers for; `agent`: virtio's, with a guest agent and a file system to freeze. */
export type Drivers = 'virtio' | 'emulated' | 'both' | 'agent'

const MIB = 1 << 20

/**
 * Where what lies on the image's disk, in MiB: a partition that boots, data that nothing but a comparison reads, and
 * nothing from `free` on; with an agent, a partition with ext4.
 */
export const LAYOUT = { partition: 1, partitionSize: 30, data: 32, dataSize: 24, free: 64, size: 96 } as const

const SECTOR = 512
const COMMON = ['isofs', 'button', 'evdev']
const MODULES: Record<Drivers, readonly string[]> = {
  virtio: ['virtio_pci', 'virtio_blk', 'virtio_net', ...COMMON],
  agent: ['virtio_pci', 'virtio_blk', 'virtio_net', 'virtio_console', 'crc32c_generic', 'ext4', ...COMMON],
  emulated: ['crct10dif_generic', 'ata_piix', 'sd_mod', 'sr_mod', 'e1000', ...COMMON],
  both: [
    'virtio_pci',
    'virtio_blk',
    'virtio_net',
    'crct10dif_generic',
    'ata_piix',
    'sd_mod',
    'sr_mod',
    'e1000',
    ...COMMON,
  ],
}

const INIT = join(import.meta.dirname, 'guest-init.sh')
const DHCP =
  '#!/bin/sh\n[ "$1" = bound ] && ip addr add $ip/$mask dev $interface && ip route add default via $router\n'
const SYSLINUX =
  'DEFAULT linux\nLABEL linux\nKERNEL vmlinuz\nINITRD initrd\nAPPEND console=ttyS0 quiet loglevel=1\n'

/**
 * A raw disk of 96 MiB that boots from a PC's BIOS to guest-init.sh in a few seconds, emulated; built in half a
 * second and kept for the next test. Needs what `needs(...IMAGE_TOOLS)` says.
 * @returns its path, for reading only
 */
export function bootableImage(drivers: Drivers): string {
  const parts = guestParts()
  if (!parts) throw new Error('the guest parts are not there: fetchGuestParts()')
  const sum = createHash('sha256')
    .update(readFileSync(import.meta.filename))
    .update(readFileSync(INIT))
  const key = sum.update(basename(parts.kernel)).digest('hex').slice(0, 16)
  const path = join(CACHE, `${drivers}-${key}.raw`)
  if (existsSync(path)) return path
  mkdirSync(CACHE, { recursive: true })
  const folder = mkdtempSync(join(CACHE, 'build-'))
  try {
    const built = join(folder, 'disk.raw')
    const hasAgent = drivers === 'agent'
    const initrd = buildInitrd(folder, parts, { modules: MODULES[drivers], hasAgent })
    const partition = buildPartition(folder, parts, initrd)
    buildDisk(built, { parts, partition, files: hasAgent ? buildFiles(folder) : undefined })
    const isOld = (name: string) => name.startsWith(`${drivers}-`) && name !== basename(path)
    for (const name of readdirSync(CACHE).filter(isOld)) rmSync(join(CACHE, name), { force: true })
    // Whoever builds it at the same time builds the same.
    renameSync(built, path)
    return path
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The tools that building takes, for `needs`. */
export const IMAGE_TOOLS = ['guest parts', 'bash', 'cpio', 'gzip', 'mcopy', 'syslinux'] as const

/** And for one with an agent. */
export const AGENT_IMAGE_TOOLS = [...IMAGE_TOOLS, 'ldd', 'mkfs.ext4'] as const

/** The bytes that the guest's `write OFFSET COUNT SEED` leaves in one MiB of its disk. */
export function patternOf(mib: number, seed: string): Buffer {
  return Buffer.alloc(MIB, `MiB ${mib} of ${seed} ${'.'.repeat(73)}\n`)
}

/** The MD5 that the guest's `sum OFFSET COUNT` says after `write OFFSET COUNT SEED`. */
export function patternSum(offset: number, count: number, seed: string): string {
  const sum = createHash('md5')
  for (let mib = offset; mib < offset + count; mib++) sum.update(patternOf(mib, seed))
  return sum.digest('hex')
}

function buildInitrd(
  folder: string,
  parts: GuestParts,
  { modules, hasAgent }: { modules: readonly string[]; hasAgent: boolean },
): string {
  const root = join(folder, 'root')
  for (const name of ['bin', 'dev', 'disk', 'modules', 'proc', 'run', 'seed', 'sys'])
    mkdirSync(join(root, name), { recursive: true })
  copyFileSync(parts.busybox, join(root, 'bin/busybox'))
  copyFileSync(INIT, join(root, 'init'))
  writeFileSync(join(root, 'udhcpc.sh'), DHCP)
  for (const name of ['init', 'udhcpc.sh', 'bin/busybox']) chmodSync(join(root, name), 0o755)
  if (hasAgent) copyAgent(parts.agent, root)
  const files = moduleFiles(parts.modules)
  const order = inOrder(modules, files)
  for (const name of order) copyFileSync(files.get(name) ?? '', join(root, 'modules', `${name}.ko`))
  writeFileSync(join(root, 'modules/order'), order.join(' '))
  const initrd = join(folder, 'initrd')
  const archive = 'set -o pipefail; find . | cpio -o -H newc --quiet -R 0:0 | gzip -1 > "$1"'
  execFileSync('bash', ['-c', archive, 'bash', initrd], { cwd: root })
  return initrd
}

/** The guest agent with its libraries, which are this machine's. */
function copyAgent(agent: string, root: string): void {
  copyFileSync(agent, join(root, 'bin/qemu-ga'))
  const said = execFileSync('ldd', [agent], { encoding: 'utf8' })
  if (said.includes('not found')) throw new Error(`qemu-ga lacks libraries:\n${said}`)
  for (const [path] of said.matchAll(/\/\S+/g)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    copyFileSync(path, join(root, path))
  }
}

/** Modules by their names as `depends` has them. */
function moduleFiles(folder: string): Map<string, string> {
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ko'),
  )
  return new Map(found.map((name) => [nameOf(basename(name, '.ko')), join(folder, name)]))
}

const nameOf = (module: string) => module.replaceAll('-', '_')

/** What each module says it depends on comes before it. */
function inOrder(modules: readonly string[], files: ReadonlyMap<string, string>): string[] {
  const order = new Set<string>()
  const add = (name: string) => {
    const path = files.get(name)
    // Not there: built into the kernel.
    if (!path || order.has(name)) return
    const depends = /\0depends=([^\0]*)\0/.exec(readFileSync(path).toString('latin1'))?.[1] ?? ''
    for (const other of depends.split(',').filter(Boolean)) add(nameOf(other))
    order.add(name)
  }
  for (const name of modules) add(name)
  return [...order]
}

/** A FAT file system that syslinux starts from. */
function buildPartition(folder: string, parts: GuestParts, initrd: string): string {
  const path = join(folder, 'fat')
  const config = join(folder, 'syslinux.cfg')
  writeFileSync(config, SYSLINUX)
  const hidden = String((LAYOUT.partition * MIB) / SECTOR)
  const run = (program: string, ...words: string[]) =>
    execFileSync(program, words, {
      cwd: folder,
      stdio: 'pipe',
      env: { ...process.env, MTOOLS_SKIP_CHECK: '1' },
    })
  const size = String((LAYOUT.partitionSize * MIB) / SECTOR)
  run('mformat', '-C', '-i', 'fat', '-T', size, '-h', '255', '-s', '63', '-H', hidden, '-v', 'BOOT', '::')
  run('mcopy', '-i', 'fat', parts.kernel, '::vmlinuz')
  run('mcopy', '-i', 'fat', initrd, '::initrd')
  run('mcopy', '-i', 'fat', config, '::syslinux.cfg')
  run('syslinux', '--install', 'fat')
  return path
}

/** An ext4 file system, the same each time, up to the end of the disk. */
function buildFiles(folder: string): string {
  const path = join(folder, 'ext4')
  const id = '00000000-0000-4000-8000-000000000004'
  const words = ['-q', '-F', '-U', id, '-E', `hash_seed=${id}`, path, `${LAYOUT.size - LAYOUT.free}m`]
  const env = { ...process.env, E2FSPROGS_FAKE_TIME: '1000000000' }
  execFileSync('mkfs.ext4', words, { stdio: 'pipe', env })
  return path
}

interface DiskParts {
  readonly parts: GuestParts
  readonly partition: string
  readonly files: string | undefined
}

function buildDisk(path: string, { parts, partition, files }: DiskParts): void {
  const disk = openSync(path, 'w')
  try {
    ftruncateSync(disk, LAYOUT.size * MIB)
    const record = Buffer.alloc(SECTOR)
    readFileSync(parts.bootCode).copy(record)
    const entry = 446
    // Active, FAT16 by LBA; the old geometry says nothing.
    record.set([0x80, 0xfe, 0xff, 0xff, 0x0e, 0xfe, 0xff, 0xff], entry)
    record.writeUInt32LE((LAYOUT.partition * MIB) / SECTOR, entry + 8)
    record.writeUInt32LE((LAYOUT.partitionSize * MIB) / SECTOR, entry + 12)
    if (files !== undefined) {
      // Linux's.
      record.writeUInt8(0x83, entry + 16 + 4)
      record.writeUInt32LE((LAYOUT.free * MIB) / SECTOR, entry + 16 + 8)
      record.writeUInt32LE(((LAYOUT.size - LAYOUT.free) * MIB) / SECTOR, entry + 16 + 12)
      const bytes = readFileSync(files)
      writeSync(disk, bytes, 0, bytes.length, LAYOUT.free * MIB)
    }
    record.writeUInt16LE(0xaa55, 510)
    writeSync(disk, record, 0, SECTOR, 0)
    const system = readFileSync(partition)
    writeSync(disk, system, 0, system.length, LAYOUT.partition * MIB)
    const data = Buffer.alloc(LAYOUT.dataSize * MIB)
    fillLikeDisk(data, createRandom(4))
    writeSync(disk, data, 0, data.length, LAYOUT.data * MIB)
  } finally {
    closeSync(disk)
  }
}
