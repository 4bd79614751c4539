import { accessSync, constants, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { guestParts } from './guest-parts.ts'

/** The programs that tests drive, each with the Debian package that brings it; coreutils and sh go without saying. */
const PACKAGES = {
  bash: 'bash',
  ceph: 'ceph-common',
  'ceph-mon': 'ceph-mon',
  'ceph-osd': 'ceph-osd',
  cmp: 'diffutils',
  cpio: 'cpio',
  curl: 'curl',
  e2fsck: 'e2fsprogs',
  find: 'findutils',
  grep: 'grep',
  gzip: 'gzip',
  ip: 'iproute2',
  ldd: 'libc-bin',
  lftp: 'lftp',
  lz4: 'lz4',
  mcopy: 'mtools',
  memcached: 'memcached',
  'mkfs.ext4': 'e2fsprogs',
  nbdcopy: 'libnbd-bin',
  nbdinfo: 'libnbd-bin',
  nft: 'nftables',
  openssl: 'openssl',
  postgres: 'postgresql',
  python3: 'python3',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'qemu-system-x86_64': 'qemu-system-x86',
  radosgw: 'radosgw',
  rclone: 'rclone',
  sftp: 'openssh-client',
  sshfs: 'sshfs',
  sshpass: 'sshpass',
  swift: 'python3-swiftclient',
  'swift-account-server': 'swift-account',
  'swift-container-server': 'swift-container',
  'swift-object-server': 'swift-object',
  'swift-proxy-server': 'swift-proxy',
  syslinux: 'syslinux',
  xz: 'xz-utils',
  zstd: 'zstd',
} as const

/** What the guest that tests boot is made of: packages that are unpacked for the tests, never installed. */
const GUEST_PARTS = 'guest parts'

export type Tool = keyof typeof PACKAGES | typeof GUEST_PARTS

/** Whether PATH has a program of this name. */
export function isInstalled(program: string): boolean {
  if (program === 'postgres') return postgresFolder() !== undefined
  return (process.env.PATH ?? '').split(delimiter).some((folder) => isProgram(join(folder, program)))
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Where Debian keeps PostgreSQL's programs, which are not in PATH: those of the newest version. */
export function postgresFolder(): string | undefined {
  const parent = '/usr/lib/postgresql'
  let versions: string[]
  try {
    versions = readdirSync(parent)
  } catch {
    return undefined
  }
  const folders = versions
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(parent, version, 'bin'))
  return folders.find((folder) => isProgram(join(folder, 'postgres')) && isProgram(join(folder, 'initdb')))
}

/** Options for `test` or `describe`: skips it, by name, on a machine that lacks one of these tools. */
export function needs(...tools: readonly Tool[]): { readonly skip?: string } {
  const missing = tools.flatMap((tool) => {
    if (tool === GUEST_PARTS) return guestParts() ? [] : ["Debian's kernel, which npm test fetches"]
    return isInstalled(tool) ? [] : [`${tool} (${PACKAGES[tool]})`]
  })
  return missing.length === 0 ? {} : { skip: `needs ${missing.join(', ')}` }
}

/** The packages of all tools that this machine lacks. */
export function missingPackages(): string[] {
  const missing = (Object.keys(PACKAGES) as (keyof typeof PACKAGES)[]).filter((tool) => !isInstalled(tool))
  return [...new Set(missing.map((tool) => PACKAGES[tool]))]
}
