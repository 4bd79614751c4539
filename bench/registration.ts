import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type Daemon, startDaemon } from '../test/support/daemon.ts'
import type { ImageJson } from '../test/support/registration.ts'
import type { BenchDisk } from './disk.ts'

export interface Measured {
  readonly seconds: number
  /** The daemon's largest resident size so far, MiB. */
  readonly peakMiB: number
  /** Milliseconds of GET /1.0/images while it ran. */
  readonly listMs: readonly number[]
}

/** Serves a folder from a process of its own. */
export async function serveFolder(folder: string): Promise<{ url: (file: string) => string } & Disposable> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'static-server.ts'), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [port] = await once(child.stdout, 'data')
  return {
    url: (file) => `http://127.0.0.1:${String(port).trim()}/${basename(file)}`,
    [Symbol.dispose]: () => void child.kill(),
  }
}

/** Registers, from the request to `available`, by a daemon that is already up. */
export async function registerOnce(daemon: Daemon, url: string): Promise<Measured> {
  const listMs: number[] = []
  const start = performance.now()
  const { body } = await daemon.api<ImageJson>('POST', '/1.0/images', { http_url: url, arch: 'x86_64' })
  for (;;) {
    const asked = performance.now()
    const list = await daemon.api<ImageJson[]>('GET', '/1.0/images')
    listMs.push(performance.now() - asked)
    const image = list.body.find(({ id }) => id === body.id)
    if (image?.status === 'available') break
    if (image?.status !== 'creating') throw new Error(`${url}: ${JSON.stringify(image)}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const seconds = (performance.now() - start) / 1000
  const status = readFileSync(`/proc/${daemon.process.pid}/status`, 'utf8')
  return { seconds, listMs, peakMiB: Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024) }
}

/** Registers into a new, empty library beside the disk, on the same file system as the pipelines write to. */
export async function registerFresh(disk: BenchDisk, url: string): Promise<Measured> {
  const data = await mkdtemp(join(disk.folder, 'data-'))
  try {
    await using daemon = await startDaemon({ data })
    return await registerOnce(daemon, url)
  } finally {
    await rm(data, { recursive: true, force: true })
    execFileSync('sync')
  }
}

/** Runs a shell pipeline in a new folder beside the disk and times it. */
export async function timeShell(disk: BenchDisk, command: string): Promise<number> {
  const folder = await mkdtemp(join(disk.folder, 'shell-'))
  try {
    const start = performance.now()
    execFileSync('bash', ['-c', `set -e -o pipefail; ${command}`], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    return (performance.now() - start) / 1000
  } finally {
    rmSync(folder, { recursive: true, force: true })
    execFileSync('sync')
  }
}
