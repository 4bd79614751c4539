import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:fs'
import { access, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { JobLog } from '#control/jobs/queue.ts'
import type { Accelerator } from '#model/server.ts'
import { acceleratorArguments } from './arguments.ts'
import { QEMU, QEMU_ENVIRONMENT } from './launch.ts'
import { PROOF_EXIT, proofRom } from './proof-rom.ts'
import { fields } from './qmp.ts'

/** `auto` for kvm where it runs a guest, and tcg elsewhere. */
export type AcceleratorSetting = 'auto' | Accelerator

/** The tiny guest is done in a twentieth of a second. */
const PROOF_MS = 3000

const ANSWER_FILE = 'accelerator.json'

/**
 * Says what servers run by. A machine may offer KVM and not run a guest by it, so `auto` runs one, once, and keeps the
 * answer until the machine starts again or has another QEMU.
 * @param prove whether a guest runs; given by tests
 */
export function createAccelerator(options: {
  readonly folder: string
  readonly accelerator: AcceleratorSetting
  readonly log: JobLog
  readonly prove?: (folder: string) => Promise<boolean>
}): () => Promise<Accelerator> {
  const { folder, accelerator, log, prove = (where: string) => runsGuest('kvm', where) } = options
  let answer: Promise<Accelerator> | undefined

  const findOut = async (): Promise<Accelerator> => {
    const path = join(folder, ANSWER_FILE)
    const machine = await describeMachine()
    const kept = await readFile(path, 'utf8').then(parse, () => ({}) as ReturnType<typeof parse>)
    if (kept.machine === machine && (kept.accelerator === 'kvm' || kept.accelerator === 'tcg'))
      return kept.accelerator
    const found = (await prove(folder)) ? 'kvm' : 'tcg'
    log.info(
      { accelerator: found },
      found === 'kvm' ? 'KVM runs guests' : 'KVM runs no guest here: emulating',
    )
    const temporary = `${path}.${process.pid}`
    await writeFile(temporary, `${JSON.stringify({ machine, accelerator: found })}\n`)
    await rename(temporary, path)
    return found
  }

  return () => {
    if (accelerator !== 'auto') return Promise.resolve(accelerator)
    answer ??= findOut().catch((error: unknown) => {
      answer = undefined
      throw error
    })
    return answer
  }
}

function parse(text: string): { readonly machine?: unknown; readonly accelerator?: unknown } {
  try {
    return fields(JSON.parse(text))
  } catch {
    // A file that says nothing is as none.
    return {}
  }
}

/** What the answer holds for: this start of this machine, and this QEMU. */
async function describeMachine(): Promise<string> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
  const version = await promisify(execFile)(QEMU, ['--version'], { env: QEMU_ENVIRONMENT }).then(
    ({ stdout }) => stdout.split('\n')[0],
    () => 'no QEMU',
  )
  return `${boot.trim()} ${version}`
}

/**
 * Whether a guest that does what every system does while it starts gets to its end, with the processor that servers
 * have.
 */
export async function runsGuest(accelerator: Accelerator, folder: string): Promise<boolean> {
  const device = await access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  )
  if (accelerator === 'kvm' && !device) return false
  const rom = join(folder, `proof.${process.pid}.rom`)
  await writeFile(rom, proofRom())
  try {
    const child = spawn(
      'prlimit',
      [
        ...['--core=0', '--', QEMU, '-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'pc'],
        ...[...acceleratorArguments(accelerator), '-m', '16', '-bios', rom],
        ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=1'],
      ],
      { stdio: 'ignore', env: QEMU_ENVIRONMENT, timeout: PROOF_MS, killSignal: 'SIGKILL' },
    )
    const [code] = (await once(child, 'exit').catch(() => [undefined])) as [unknown]
    return code === PROOF_EXIT
  } finally {
    await rm(rom, { force: true })
  }
}
