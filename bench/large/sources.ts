import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const MiB = 1024 * 1024
const SECTOR = 512

export interface Sources {
  readonly folder: string
  /** As raw disks; each name with `.xz` is the same compressed. */
  readonly files: readonly string[]
}

/** Makes, once, disks of `mib` MiB of this machine's own /usr, of which no two have a block in common. */
export async function makeSources(parent: string, count: number, mib: number): Promise<Sources> {
  const folder = join(parent, `sources-${mib}`)
  mkdirSync(folder, { recursive: true })
  const files = Array.from({ length: count }, (_, index) => `disk-${index}.raw`)
  if (files.some((file) => !existsSync(join(folder, file)))) await cutTree(folder, files, mib * MiB)
  for (const file of files) {
    const target = join(folder, `${file}.xz`)
    if (existsSync(target)) continue
    console.error(`making ${file}.xz`)
    execFileSync('sh', ['-c', 'xz -2 -T1 -c "$1" > "$2"', 'sh', join(folder, file), `${target}.part`])
    renameSync(`${target}.part`, target)
  }
  return { folder, files }
}

async function cutTree(folder: string, files: readonly string[], size: number): Promise<void> {
  const tar = spawn('tar', ['-C', '/usr', '-cf', '-', '.'], { stdio: ['ignore', 'pipe', 'ignore'] })
  const waiting = [...files]
  let pieces: Buffer[] = []
  let held = 0
  for await (const chunk of tar.stdout as AsyncIterable<Buffer>) {
    pieces.push(chunk)
    held += chunk.length
    if (held < size) continue
    const bytes = Buffer.concat(pieces)
    pieces = [bytes.subarray(size)]
    held -= size
    markAsDisk(bytes)
    const path = join(folder, waiting.shift() ?? '')
    await writeFile(`${path}.part`, bytes.subarray(0, size))
    renameSync(`${path}.part`, path)
    if (waiting.length === 0) break
  }
  tar.kill()
  if (tar.exitCode === null && tar.signalCode === null) await once(tar, 'exit')
  if (waiting.length > 0) throw new Error('/usr is too small for so many disks: --images, --size')
}

/** The first sector of a disk with one partition, so that nobody takes it for what a file of /usr may look like. */
function markAsDisk(bytes: Buffer): void {
  bytes.fill(0, 0, SECTOR)
  Buffer.from([0, 0, 2, 0, 0x83, 0xfe, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0, 0]).copy(bytes, 446)
  bytes.writeUInt16BE(0x55aa, SECTOR - 2)
}
