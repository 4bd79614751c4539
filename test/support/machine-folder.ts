import { execFile, spawn } from 'node:child_process'
import { on, once } from 'node:events'
import { mkdir, mkdtemp, open, realpath, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { connectSocket } from '#control/servers/qemu/connect-socket.ts'
import { createHypervisor } from '#control/servers/qemu/hypervisor.ts'
import type { MachineSpec } from '#control/servers/qemu/machine.ts'
import { serialGuest, tellGuest } from './serial-guest.ts'

const run = promisify(execFile)
const MiB = 1024 * 1024
export const DISK_SIZE = 32 * MiB
const silent = { info() {}, warn() {}, error() {} }

/** A folder of servers' folders whose disks have the guest of the serial port, and QEMUs that end with it. */
export async function machineFolders() {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'machines-')))
  const createNew = () => createHypervisor({ folder, accelerator: 'tcg', log: silent })
  const machines = createNew()
  return {
    folder,
    machines,
    /** As a daemon that starts again has it. */
    createNew,
    /** A server's folder with base and one layer. */
    async add(id: string, change: Partial<MachineSpec> = {}): Promise<MachineSpec> {
      const own = join(folder, id)
      await mkdir(own)
      await writeFile(join(own, 'base.raw'), serialGuest(), { mode: 0o444 })
      const base = await open(join(own, 'seed.iso'), 'w')
      await base.truncate(MiB)
      await base.close()
      await addLayer(own, 'layer-0.qcow2')
      await run('truncate', ['-s', `${DISK_SIZE}`, join(own, 'base.raw')])
      return { ...SPEC, id, folder: own, ...change }
    },
    start: (spec: MachineSpec) => machines.start(spec, new AbortController().signal),
    async [Symbol.asyncDispose]() {
      await machines.endOthers(folder, new Set())
      await rm(folder, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

const SPEC = {
  accelerator: 'tcg',
  cores: 1,
  ram: 32,
  compatibilityMode: false,
  diskSerial: 'vol-aaaaa',
  diskSize: DISK_SIZE,
  base: 'file',
  layers: ['layer-0.qcow2'],
  macAddress: '52:54:00:12:34:56',
  network: { kind: 'none' },
  user: undefined,
} as const

export async function addLayer(folder: string, name: string): Promise<void> {
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', join(folder, name), `${DISK_SIZE}`])
}

/** The guest's serial port, with what it answers. */
export async function attachGuest(spec: MachineSpec) {
  const serial = await connectSocket(spec.folder, 'serial.sock')
  return {
    tell: (command: string) => tellGuest(serial, command),
    async said(text: string) {
      for await (const [chunk] of on(serial, 'data', { signal: AbortSignal.timeout(30_000) }))
        if (String(chunk).includes(text)) return
    },
    [Symbol.dispose]: () => serial.destroy(),
  }
}

/** The process number of the QEMU that runs in a folder, asked of the kernel. */
export async function pidIn(folder: string): Promise<number | undefined> {
  const { stdout } = await run('sh', ['-c', 'ls -l /proc/*/cwd 2>/dev/null; true'])
  const line = stdout.split('\n').find((text) => text.endsWith(` -> ${folder}`))
  return line === undefined ? undefined : Number(/\/proc\/(\d+)\//.exec(line)?.[1])
}

/** Offers a server's base over NBD, as the library does; ends when disposed of. */
export async function offerBase(folder: string): Promise<AsyncDisposable> {
  const socket = join(folder, 'image.sock')
  await rm(socket, { force: true })
  const child = spawn('qemu-nbd', [
    '-t',
    '-r',
    '-e',
    '8',
    '-f',
    'raw',
    '-k',
    socket,
    join(folder, 'base.raw'),
  ])
  for (let isThere = false; !isThere; await delay(10)) {
    if (child.exitCode !== null) throw new Error('qemu-nbd ended')
    isThere = await connectSocket(folder, 'image.sock').then(
      (found) => {
        found.destroy()
        return true
      },
      () => false,
    )
  }
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}

/** Whether something holds, asked again until it does or `limitMs` are over. */
export async function becomes(holds: () => Promise<boolean>, limitMs = 30_000): Promise<boolean> {
  const until = performance.now() + limitMs
  while (!(await holds())) {
    if (performance.now() >= until) return false
    await delay(20)
  }
  return true
}

/** A port of the loopback interface that is free, or taken until disposed of. */
export async function takePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      server.close()
      await once(server, 'close')
    },
  }
}
