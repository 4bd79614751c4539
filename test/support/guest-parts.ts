import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Kept between runs of the tests; not in git. */
export const CACHE = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'bootable-image')

/** What a guest is made of, taken out of Debian's packages without installing them. */
export interface GuestParts {
  readonly kernel: string
  /** Below it all modules of the kernel. */
  readonly modules: string
  /** Linked statically. */
  readonly busybox: string
  /** 440 bytes that start the active partition. */
  readonly bootCode: string
  /** QEMU's guest agent, linked with libraries that this machine's QEMU is linked with too. */
  readonly agent: string
}

/** Where the parts lie; undefined where they were not fetched yet. */
export function guestParts(): GuestParts | undefined {
  const boot = join(PARTS, 'boot')
  if (!existsSync(boot)) return undefined
  const kernel = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'))
  if (!kernel) return undefined
  return {
    kernel: join(boot, kernel),
    modules: join(PARTS, 'lib/modules'),
    busybox: join(PARTS, 'bin/busybox'),
    bootCode: join(PARTS, 'usr/lib/syslinux/mbr/mbr.bin'),
    agent: join(PARTS, 'usr/sbin/qemu-ga'),
  }
}

/** Where in the kernel's modules those are that a guest may want, with what they depend on: a twentieth of all. */
const MODULES = ['acpi', 'ata', 'block', 'cdrom', 'input', 'net/ethernet/intel/e1000', 'scsi', 'virtio']
  .map((folder) => `drivers/${folder}/*`)
  .concat([
    'drivers/char/virtio_console.ko',
    'drivers/net/*failover.ko',
    'drivers/net/virtio_net.ko',
    'net/core/*',
  ])
  .concat(['block/*', 'crypto/*', 'fs/ext4/*', 'fs/isofs/*', 'fs/jbd2/*', 'fs/mbcache.ko', 'lib/*'])

/** Of a Debian package, what is wanted of it. */
const WANTED = {
  kernel: ['./boot/vmlinuz-*', ...MODULES.map((name) => `./lib/modules/*/kernel/${name}`)],
  'busybox-static': ['./bin/busybox'],
  'qemu-guest-agent': ['./usr/sbin/qemu-ga'],
  'syslinux-common': ['./usr/lib/syslinux/mbr/mbr.bin'],
}

// Whoever wants others has to fetch them.
const PARTS = join(
  CACHE,
  `parts-${createHash('sha256').update(JSON.stringify(WANTED)).digest('hex').slice(0, 8)}`,
)

/**
 * Downloads the parts with apt-get, some 70 MB, where they are not there already.
 * @throws where this is no Debian for PCs, or its mirror cannot be reached; then nothing is left
 */
export function fetchGuestParts(): void {
  if (guestParts()) return
  mkdirSync(CACHE, { recursive: true })
  const folder = mkdtempSync(join(CACHE, 'fetch-'))
  const run = (program: string, ...words: string[]) =>
    execFileSync(program, words, {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 300_000,
    }).toString()
  try {
    // The package of the current kernel has a version in its name; this one depends on it.
    const kernel = /Depends: (linux-image-\S+)/.exec(run('apt-cache', 'depends', 'linux-image-amd64'))?.[1]
    if (!kernel) throw new Error('apt-cache knows no linux-image-amd64')
    mkdirSync(join(folder, 'parts'))
    for (const [name, wanted] of Object.entries(WANTED)) {
      const found = name === 'kernel' ? kernel : name
      run('apt-get', 'download', '-q', '-o', 'APT::Sandbox::User=root', found)
      const archive = readdirSync(folder).find((file) => file.startsWith(`${found}_`)) ?? ''
      const unpack = 'dpkg-deb --fsys-tarfile "$0" | tar -x -C parts --wildcards "$@"'
      run('bash', '-c', unpack, archive, ...wanted)
    }
    for (const name of readdirSync(CACHE).filter((name) => name.startsWith('parts')))
      rmSync(join(CACHE, name), { recursive: true })
    renameSync(join(folder, 'parts'), PARTS)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
