import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type FileHandle, realpath, stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { createTap, removeTap } from '../network/tap.ts'
import { machineArguments } from './arguments.ts'
import type { Machine, MachineSpec } from './machine.ts'
import { lastLine, prepareFolder } from './machine-folder.ts'
import { endProcess, endStrays, findQemus, isRunning, nameProcess, type ProcessName } from './process.ts'
import { attachMachine } from './running-machine.ts'

export const QEMU = 'qemu-system-x86_64'

/** QEMU gets nothing of the daemon's environment; fewer arenas keep its address space near what it uses. */
export const QEMU_ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
  MALLOC_ARENA_MAX: '4',
}

/**
 * Beside the guest's memory, MiB: 1 GiB of address space was measured with eight cores, of which QEMU uses a tenth;
 * up to 64 threads that read and write come on top.
 */
const OVERHEAD = 3 * 1024
const THREADS = 128
const FILES = 256

/** A QEMU starts in a tenth of a second, or in seconds where many start at once; an export may have to wake up. */
const START_MS = 30_000
const POLL_MS = 5

/** Starts a QEMU that outlives the daemon. @throws unavailable with what it said, and then it is gone */
export async function launchMachine(spec: MachineSpec, signal: AbortSignal): Promise<Machine> {
  signal.throwIfAborted()
  const args = machineArguments(spec)
  const folder = await realpath(spec.folder)
  // Its sockets would be taken from it.
  if ((await findQemus((other) => other === folder)).length > 0) throw startError(spec, 'it runs already')
  const { network, user } = spec
  if (user) await endStrays(user.uid, folder)
  await using log = await prepareFolder(spec)
  if (network.kind === 'tap') await createTap({ ...network, uid: user?.uid ?? process.getuid?.() ?? 0 })
  try {
    return await startProcess(spec, args, log, signal)
  } catch (error) {
    if (network.kind === 'tap') await removeTap(network.device)
    throw error
  }
}

async function startProcess(
  spec: MachineSpec,
  args: readonly string[],
  log: FileHandle,
  signal: AbortSignal,
): Promise<Machine> {
  const child = spawn('prlimit', [...limitArguments(spec), '--', QEMU, ...args], {
    cwd: spec.folder,
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    env: QEMU_ENVIRONMENT,
    ...(await userOf(spec)),
  })
  child.unref()
  try {
    await once(child, 'spawn')
  } catch (cause) {
    throw startError(spec, 'prlimit of util-linux cannot be started', cause)
  }
  const name = child.pid === undefined ? undefined : await nameProcess(child.pid)
  if (!name) throw startError(spec, await lastLine(log))
  try {
    return await whenReady(spec.folder, name, signal)
  } catch (cause) {
    const isGone = !(await isRunning(name))
    await endProcess(name)
    signal.throwIfAborted()
    const said = await lastLine(log)
    throw startError(
      spec,
      said || (isGone ? 'it ended' : `it was not ready within ${START_MS / 1000} s`),
      cause,
    )
  }
}

async function whenReady(folder: string, name: ProcessName, signal: AbortSignal): Promise<Machine> {
  const until = performance.now() + START_MS
  for (;;) {
    try {
      return await attachMachine({ folder, process: name, limitMs: until - performance.now(), signal })
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof LibraryError) || performance.now() >= until || !(await isRunning(name)))
        throw error
    }
    await delay(POLL_MS, undefined, { signal })
  }
}

const startError = ({ id }: MachineSpec, reason: string, cause?: unknown) =>
  new LibraryError('unavailable', `start QEMU of ${id}: ${reason}`, cause === undefined ? {} : { cause })

/**
 * How long a file of a server's may get. A layer has all clusters of the disk at most once, and tables of less than a
 * hundredth of that; each QEMU that was killed may have left a few clusters behind.
 */
const fileSize = (diskSize: number) => Math.ceil(diskSize * 1.02) + 256 * MiB

function limitArguments({ ram, user, diskSize }: MachineSpec): string[] {
  const bytes = (ram + OVERHEAD) * MiB
  return [
    ...[`--as=${bytes}`, '--core=0', `--nofile=${FILES}`, `--fsize=${fileSize(diskSize)}`],
    // Threads are counted by user: where all servers share one, the limit would be everybody's.
    ...(user ? [`--nproc=${THREADS}`] : []),
  ]
}

/** QEMU's group is that of the kernel's virtualisation, where it uses that: its files are open to their owner alone. */
async function userOf({ user, accelerator }: MachineSpec) {
  if (!user) return {}
  if (accelerator !== 'kvm') return user
  return { uid: user.uid, gid: (await stat('/dev/kvm')).gid || user.gid }
}
