import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { copyFile, glob, link, lstat, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'

const MiB = 1024 * 1024

export interface BenchDisk {
  readonly folder: string
  readonly diskMiB: number
  readonly dataMiB: number
}

const sh = (command: string, cwd: string) =>
  execFileSync('bash', ['-c', command], { cwd, stdio: ['ignore', 'ignore', 'inherit'] })

/** Every way in which the disk is served, and how it is made from disk.raw. */
const VARIANTS: Record<string, string> = {
  'disk.raw.lz4': 'lz4 -q disk.raw TARGET',
  'disk.qcow2': 'qemu-img convert -f raw -O qcow2 disk.raw TARGET',
  'disk-deflate.qcow2': 'qemu-img convert -m 2 -c -f raw -O qcow2 disk.raw TARGET',
  'disk-zstd.qcow2': 'qemu-img convert -m 2 -c -f raw -O qcow2 -o compression_type=zstd disk.raw TARGET',
  'disk-blocks.raw.xz': 'xz -6 -T2 -c disk.raw >TARGET',
  'disk-single.raw.xz': 'xz -6 -T1 -c disk.raw >TARGET',
}

/**
 * Makes, once, an ext4 file system of `diskMiB` that holds about `dataMiB` of this machine's own /usr.
 * Everything is kept in `folder` for the next run.
 * @param variants the ways in which it is served, besides disk.raw
 */
export async function makeBenchDisk(
  folder: string,
  diskMiB: number,
  dataMiB: number,
  variants: readonly string[] = Object.keys(VARIANTS),
): Promise<BenchDisk> {
  mkdirSync(folder, { recursive: true })
  const raw = join(folder, 'disk.raw')
  if (!existsSync(raw)) {
    const tree = join(folder, 'tree')
    rmSync(tree, { recursive: true, force: true })
    await gather('/usr', tree, dataMiB * MiB)
    sh(`mke2fs -q -t ext4 -d tree disk.part ${diskMiB}M && mv disk.part disk.raw`, folder)
    rmSync(tree, { recursive: true, force: true })
  }
  for (const [name, command] of Object.entries(VARIANTS)) {
    const target = join(folder, name)
    if (existsSync(target) || !variants.includes(name)) continue
    console.error(`making ${name}`)
    sh(command.replace('TARGET', `${name}.part`), folder)
    renameSync(`${target}.part`, target)
  }
  return { folder, diskMiB, dataMiB: Math.round((statSync(raw).blocks * 512) / MiB) }
}

/** Copies files from `source`, in name order, until they hold `size` bytes. */
async function gather(source: string, target: string, size: number): Promise<void> {
  let total = 0
  for await (const name of glob('**/*', { cwd: source })) {
    if (total >= size) break
    const from = join(source, name)
    const info = await lstat(from)
    if (!info.isFile() || info.size > 64 * MiB) continue
    const to = join(target, name)
    await mkdir(dirname(to), { recursive: true })
    await link(from, to).catch(() => copyFile(from, to))
    total += info.size
  }
  if (total === 0) symlinkSync('/', join(target, 'empty'))
}
