import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { LibraryError } from '#base/errors.ts'

/** The tap device of a server that is on a bridge. */
export const tapName = ({ slot }: { readonly slot: number }) => `il-tap${slot}`

const run = promisify(execFile)
const LIMIT_MS = 10_000
const PATH = '/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin'

/**
 * Makes a tap device that only one Unix user may open, on a bridge; one of that name that nobody uses is replaced.
 * @throws unavailable where the daemon may not, the bridge is not there, or the device is in use
 */
export async function createTap(tap: {
  readonly device: string
  readonly bridge: string
  readonly uid: number
}): Promise<void> {
  const { device, bridge, uid } = tap
  if (await isUsed(device)) throw new LibraryError('unavailable', `make the network device ${device}: in use`)
  await removeTap(device)
  try {
    await ip('tuntap', 'add', 'dev', device, 'mode', 'tap', 'user', `${uid}`)
    // On the bridge before it is up: the host itself takes no address there.
    await ip('link', 'set', 'dev', device, 'master', bridge)
    await ip('link', 'set', 'dev', device, 'up')
  } catch (cause) {
    await removeTap(device)
    const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : ''
    throw new LibraryError(
      'unavailable',
      `put the network device ${device} on ${bridge}: ${said || 'ip failed'}`,
      {
        cause,
        hint: 'a bridge has to be there, and the daemon be root or have CAP_NET_ADMIN',
      },
    )
  }
}

/** Removes a tap device that nobody uses; what is gone already is gone. */
export async function removeTap(device: string): Promise<void> {
  const devices = await readdir('/sys/class/net').catch((): string[] => [])
  if (devices.includes(device) && !(await isUsed(device)))
    await ip('link', 'del', 'dev', device).catch(() => {})
}

/** Whether a process has it open; then it has a carrier. */
async function isUsed(device: string): Promise<boolean> {
  // A device that is down says nothing.
  const carrier = await readFile(`/sys/class/net/${device}/carrier`, 'utf8').catch(() => '0')
  return carrier.trim() === '1'
}

const ip = (...args: string[]) => run('ip', args, { env: { PATH, LC_ALL: 'C' }, timeout: LIMIT_MS })
