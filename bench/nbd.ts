/**
 * `node bench/nbd.ts [--rounds N] [--disk MiB] [--data MiB] [--folder DIR]`: reads a disk over NBD with nbdcopy, from
 * `image-library export` in turn with nbdkit's file plugin over the same disk as a raw file in the page cache.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startDaemon } from '../test/support/daemon.ts'
import type { ImageJson } from '../test/support/registration.ts'
import { isInstalled } from '../test/support/tools.ts'
import { hold, printRow } from './contest.ts'
import { makeBenchDisk } from './disk.ts'
import { registerOnce, serveFolder } from './registration.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    disk: { type: 'string', default: '2048' },
    data: { type: 'string', default: '1200' },
    folder: { type: 'string', default: join(import.meta.dirname, '..', '.cache', 'bench') },
  },
})

const disk = await makeBenchDisk(values.folder, Number(values.disk), Number(values.data), [])
const folder = await mkdtemp(join(values.folder, 'nbd-'))

interface Server extends Disposable {
  readonly uri: string
}

const ending = (child: ChildProcess) => ({ [Symbol.dispose]: () => void child.kill() })

async function startOurs(data: string, image: string): Promise<Server> {
  const command = join(import.meta.dirname, '..', 'bin', 'image-library')
  const words = ['export', image, '--data', data, '--socket', join(folder, 'ours.sock')]
  const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const [uri] = await once(child.stdout, 'data')
  return { uri: String(uri).trim(), ...ending(child) }
}

async function startTheirs(): Promise<Server> {
  const socket = join(folder, 'theirs.sock')
  const raw = join(disk.folder, 'disk.raw')
  const child = spawn('nbdkit', ['-f', '-r', '-U', socket, 'file', raw], { stdio: 'inherit' })
  await sleep(500)
  return { uri: `nbd+unix:///?socket=${socket}`, ...ending(child) }
}

function copy({ uri }: Server, options: readonly string[]): number {
  const began = performance.now()
  execFileSync('nbdcopy', [...options, uri, 'null:'], { stdio: 'inherit' })
  return (performance.now() - began) / 1000
}

for (const tool of ['nbdkit', 'nbdcopy'])
  if (!isInstalled(tool)) throw new Error(`there is no ${tool}: apt-get install nbdkit libnbd-bin`)

try {
  using files = await serveFolder(disk.folder)
  await using daemon = await startDaemon({ data: join(folder, 'data') })
  await registerOnce(daemon, files.url('disk.raw'))
  const [image] = (await daemon.api<ImageJson[]>('GET', '/1.0/images')).body
  if (!image) throw new Error('there is no image')
  using ours = await startOurs(daemon.data, image.id)
  using theirs = await startTheirs()
  const rows: string[] = []
  for (const [name, options] of [
    ['all connections', []],
    ['one connection', ['--connections=1']],
    ['holes read too', ['--no-extents']],
  ] as const) {
    const contest = {
      name: `nbdcopy, ${name}`,
      ours: async () => copy(ours, options),
      theirs: async () => copy(theirs, options),
    }
    const bytes = name === 'holes read too' ? disk.diskMiB : disk.dataMiB
    const rateOf = (seconds: number) => `${Math.round(bytes / seconds)} MiB/s`
    rows.push(printRow(contest.name, await hold(contest, Number(values.rounds)), rateOf))
  }
  console.log(
    `${cpus().length} × ${cpus()[0]?.model}; disk of ${disk.diskMiB} MiB, ${disk.dataMiB} MiB data\n`,
  )
  console.log('| | ours | nbdkit file | |\n|---|---|---|---|')
  console.log(rows.join('\n'))
} finally {
  await rm(folder, { recursive: true, force: true })
}
