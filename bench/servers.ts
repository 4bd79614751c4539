/**
 * `node bench/servers.ts [--rounds N] [--only WORD] [--folder DIR]`: how long a server takes to start, with disks that
 * grow, against `qemu-img create -b` and the same QEMU; and a snapshot of a server that changed 50 MB of a disk with
 * 1.2 GB of data, against `qemu-img convert` of that disk, hashed and compressed. All emulated.
 */
import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, openSync, renameSync, statSync, truncateSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { bootableImage, LAYOUT } from '../test/support/bootable-image.ts'
import { type Daemon, startDaemon } from '../test/support/daemon.ts'
import { endMachines, machinesOf } from '../test/support/machines.ts'
import { guestOf, type ServerJson, serverSettings } from '../test/support/servers.ts'
import { hold, median, printRow } from './contest.ts'
import { makeBenchDisk } from './disk.ts'
import { serveFolder, timeShell } from './registration.ts'

const MiB = 1024 ** 2
const CHANGED_MIB = 50
/** MiB of data of each GiB of a disk, when disks of several sizes are compared. */
const DENSITY = 8

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    folder: { type: 'string', default: join(import.meta.dirname, '..', '.cache', 'bench') },
  },
})
const rounds = Number(values.rounds)
const folder = join(values.folder, 'servers')
mkdirSync(folder, { recursive: true })
using web = await serveFolder(folder)

console.log(`${cpus().length} × ${cpus()[0]?.model}; Node ${process.version}; QEMU by emulation\n`)
if ('start'.startsWith(values.only)) await benchStart()
if ('snapshot'.startsWith(values.only)) await benchSnapshot()

/** A library beside the disks, whose servers end with it. */
async function openLibrary() {
  const data = await mkdtemp(join(folder, 'd-'))
  const daemon = await startDaemon({ data, settings: serverSettings() })
  return {
    daemon,
    async [Symbol.asyncDispose]() {
      await daemon[Symbol.asyncDispose]()
      await endMachines(data)
      await rm(data, { recursive: true, force: true })
    },
  }
}

async function register(daemon: Daemon, file: string): Promise<string> {
  const { body } = await daemon.api<{ id: string }>('POST', '/1.0/images', {
    http_url: web.url(file),
    arch: 'x86_64',
  })
  await imageIs(daemon, body.id)
  return body.id
}

async function imageIs(daemon: Daemon, id: string): Promise<void> {
  for (;;) {
    const { body } = await daemon.api<{ status: string }>('GET', `/1.0/images/${id}`)
    if (body.status === 'available') return
    if (body.status !== 'creating') throw new Error(JSON.stringify(body))
    await delay(5)
  }
}

/** @returns seconds from the request until its QEMU runs, and the server */
async function timeStart(daemon: Daemon, image: string, sizeMiB: number) {
  const start = performance.now()
  const { status, body } = await daemon.api<ServerJson>('POST', '/1.0/servers', {
    server_type: '1gb.net',
    volumes: [{ image, size: sizeMiB }],
  })
  if (status !== 202) throw new Error(JSON.stringify(body))
  let server = body
  while (server.status !== 'active') {
    await delay(2)
    server = (await daemon.api<ServerJson>('GET', `/1.0/servers/${body.id}`)).body
    if (server.status !== 'creating' && server.status !== 'active') throw new Error(JSON.stringify(server))
  }
  return { server, seconds: (performance.now() - start) / 1000 }
}

async function destroy(daemon: Daemon, id: string): Promise<void> {
  await daemon.api('DELETE', `/1.0/servers/${id}`)
  for (;;) {
    if ((await daemon.api<ServerJson>('GET', `/1.0/servers/${id}`)).body.status === 'deleted') return
    await delay(10)
  }
}

async function benchStart(): Promise<void> {
  console.log(
    '| start of a server | ours, s | `qemu-img create -b` and the same QEMU, s | how many times as fast |',
  )
  console.log('|---|---|---|---|')
  await using library = await openLibrary()
  const { daemon } = library
  for (const sizeGiB of [2, 20, 200]) {
    const file = makeSparseDisk(sizeGiB)
    const image = await register(daemon, file)
    const contest = {
      name: `start, disk of ${sizeGiB} GiB, ${sizeGiB * DENSITY} MiB of it data`,
      async ours() {
        const { server, seconds } = await timeStart(daemon, image, sizeGiB * 1024)
        words =
          (await machinesOf(daemon.data)).find((machine) => machine.folder.endsWith(server.id))?.words ?? []
        await destroy(daemon, server.id)
        return seconds
      },
      theirs: () => timeByHand(join(folder, file.replace('.qcow2', '.raw')), sizeGiB),
    }
    let words: readonly string[] = []
    // What QEMU is started with has to be known first.
    await contest.ours()
    const timeByHand = (raw: string, gib: number) => startByHand(raw, gib, words)
    console.log(printRow(contest.name, await hold(contest, rounds), (seconds) => seconds.toFixed(3)))
  }
}

/** A disk whose data is spread evenly, as raw and as qcow2; @returns the name of the latter */
function makeSparseDisk(sizeGiB: number): string {
  const raw = join(folder, `sparse-${sizeGiB}.raw`)
  const qcow2 = raw.replace('.raw', '.qcow2')
  if (!existsSync(qcow2)) {
    console.error(`making ${qcow2}`)
    const script = [
      'import os, sys',
      'f = open(sys.argv[1], "wb"); gib = int(sys.argv[2])',
      'f.truncate(gib << 30)',
      'for i in range(gib):',
      `    f.seek(i << 30); f.write(os.urandom(${DENSITY} << 20))`,
    ].join('\n')
    execFileSync('python3', ['-c', script, raw, String(sizeGiB)])
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, `${qcow2}.part`])
    renameSync(`${qcow2}.part`, qcow2)
  }
  return `sparse-${sizeGiB}.qcow2`
}

/** What an administrator would do: a qcow2 over the image's file, and QEMU with the devices that ours has. */
async function startByHand(raw: string, sizeGiB: number, words: readonly string[]): Promise<number> {
  const work = await mkdtemp(join(folder, 'h-'))
  try {
    const start = performance.now()
    execFileSync(
      'qemu-img',
      ['create', '-q', '-f', 'qcow2', '-b', raw, '-F', 'raw', 'disk.qcow2', `${sizeGiB}G`],
      {
        cwd: work,
      },
    )
    const child = spawn(words[0] ?? '', byHand(words.slice(1).filter(Boolean)), {
      cwd: work,
      stdio: 'inherit',
    })
    const gone = new Promise((resolve) => child.once('exit', resolve))
    const early = gone.then(() => Promise.reject(new Error('QEMU ended')))
    await Promise.race([untilRunning(join(work, 'monitor.sock')), early])
    const seconds = (performance.now() - start) / 1000
    child.kill('SIGKILL')
    await gone
    return seconds
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The same arguments, with one disk in place of base, layers and seed. */
function byHand(words: readonly string[]): string[] {
  const kept: string[] = []
  for (let at = 0; at < words.length; at++) {
    const [word = '', next = ''] = words.slice(at, at + 2)
    const isOurs = word === '-blockdev' || (word === '-device' && next.includes('seed'))
    if (isOurs) at++
    else kept.push(word.replace(/drive=layer-0\.qcow2\b/, 'drive=disk'))
  }
  return [...kept, '-blockdev', 'driver=qcow2,node-name=disk,file.driver=file,file.filename=disk.qcow2']
}

/** Waits until QEMU's monitor says that the machine runs. */
async function untilRunning(path: string): Promise<void> {
  for (;;) {
    const socket = connect(path)
    try {
      const lines = createInterface(socket)[Symbol.asyncIterator]()
      socket.on('error', () => {})
      if ((await lines.next()).done) continue
      socket.write('{"execute":"qmp_capabilities"}\n{"execute":"query-status"}\n')
      for await (const line of lines) if (line.includes('"running": true')) return
    } catch {
      // Not there yet.
    } finally {
      socket.destroy()
    }
    await delay(2)
  }
}

async function benchSnapshot(): Promise<void> {
  const file = await makeBigGuest()
  await using library = await openLibrary()
  const { daemon } = library
  const image = await register(daemon, file)
  const { server } = await timeStart(daemon, image, 4096)
  using guest = await guestOf(daemon, server.id)
  const serverFolder = join(daemon.data, 'servers', server.id)
  const stored: number[] = []
  let seek = 1024
  const contest = {
    name: `snapshot after ${CHANGED_MIB} MiB of changes`,
    async ours() {
      seek += CHANGED_MIB
      await guest.run(
        `dd if=/dev/urandom of=$D bs=1M seek=${seek} count=${CHANGED_MIB} conv=fsync 2>&1`,
        120_000,
      )
      const before = await storedBytes(daemon)
      const start = performance.now()
      const { body } = await daemon.api<ServerJson>('POST', `/1.0/servers/${server.id}/snapshot`)
      await imageIs(daemon, body.snapshots.at(-1)?.id ?? '')
      const seconds = (performance.now() - start) / 1000
      stored.push((await storedBytes(daemon)) - before)
      return seconds
    },
    async theirs() {
      const layers = await settledLayers(serverFolder)
      const chain = layers.reduce<object>(
        (backing, name) => ({
          driver: 'qcow2',
          file: { driver: 'file', filename: join(serverFolder, name) },
          backing,
        }),
        { driver: 'raw', file: { driver: 'file', filename: join(folder, file) } },
      )
      const source = `json:${JSON.stringify(chain)}`
      return timeShell(
        { folder, diskMiB: 4096, dataMiB: 1200 },
        `qemu-img convert -U -O raw '${source}' got; openssl dgst -sha256 got >sum; lz4 -q got kept; sync`,
      )
    },
  }
  console.log('\n| snapshot | ours, s | `qemu-img convert; openssl; lz4; sync`, s | how many times as fast |')
  console.log('|---|---|---|---|')
  console.log(printRow(contest.name, await hold(contest, rounds), (seconds) => seconds.toFixed(2)))
  console.log(`\nstored for it: ${stored.map((bytes) => (bytes / MiB).toFixed(1)).join(', ')} MiB`)
  const { body } = await daemon.api<{ action: string; message: string; resource: { id: string } }[]>(
    'GET',
    '/1.0/events',
  )
  const pauses = body
    .filter(({ action }) => action === 'server.snapshot')
    .map(({ message }) => Number(/(\d+(?:\.\d+)?) ms/.exec(message)?.[1]))
  console.log(
    `the guest could not write for ${median(pauses).toFixed(1)} ms, at most ${Math.max(...pauses)} ms`,
  )
}

/** Waits until those that no snapshot reads are merged. */
async function settledLayers(folder: string): Promise<string[]> {
  for (;;) {
    const layers = (await readdir(folder)).filter((name) => /^layer-\d+\.qcow2$/.test(name))
    if (layers.length <= 2) return layers.toSorted()
    await delay(50)
  }
}

/** Bytes of all blocks at rest. */
async function storedBytes(daemon: Daemon): Promise<number> {
  return Number(
    execFileSync('du', ['-sB1', '--apparent-size', join(daemon.data, 'store')])
      .toString()
      .split('\t')[0],
  )
}

/** The guest of the tests with the disk of the other benches behind it. @returns its file's name */
async function makeBigGuest(): Promise<string> {
  const name = 'guest.raw'
  const path = join(folder, name)
  const disk = await makeBenchDisk(values.folder, 2048, 1200, [])
  if (existsSync(path)) return name
  copyFileSync(bootableImage('virtio'), `${path}.part`)
  truncateSync(`${path}.part`, LAYOUT.size * MiB + statSync(join(disk.folder, 'disk.raw')).size)
  execFileSync(
    'dd',
    [
      `if=${join(disk.folder, 'disk.raw')}`,
      `of=${path}.part`,
      'bs=1M',
      `seek=${LAYOUT.size}`,
      'conv=notrunc,sparse',
    ],
    { stdio: ['ignore', 'ignore', openSync('/dev/null', 'w')] },
  )
  renameSync(`${path}.part`, path)
  return name
}
