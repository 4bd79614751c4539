import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The programs that tests drive, each with the Debian package that brings it; coreutils and sh go without saying. */
const PACKAGES = {
  bash: 'bash',
  cmp: 'diffutils',
  curl: 'curl',
  find: 'findutils',
  grep: 'grep',
  gzip: 'gzip',
  lftp: 'lftp',
  lz4: 'lz4',
  openssl: 'openssl',
  python3: 'python3',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  rclone: 'rclone',
  sftp: 'openssh-client',
  sshfs: 'sshfs',
  sshpass: 'sshpass',
  swift: 'python3-swiftclient',
  xz: 'xz-utils',
  zstd: 'zstd',
} as const

export type Tool = keyof typeof PACKAGES

/** Whether PATH has a program of this name. */
export function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Options for `test` or `describe`: skips it, by name, on a machine that lacks one of these tools. */
export function needs(...tools: readonly Tool[]): { readonly skip?: string } {
  const missing = tools.filter((tool) => !isInstalled(tool))
  if (missing.length === 0) return {}
  return { skip: `needs ${missing.map((tool) => `${tool} (${PACKAGES[tool]})`).join(', ')}` }
}

/** The packages of all tools that this machine lacks. */
export function missingPackages(): string[] {
  const missing = (Object.keys(PACKAGES) as Tool[]).filter((tool) => !isInstalled(tool))
  return [...new Set(missing.map((tool) => PACKAGES[tool]))]
}
