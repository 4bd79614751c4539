import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Daemon } from './daemon.ts'
import { attachConsole, type Guest } from './guest.ts'
import { type MachineProcess, machinesOf } from './machines.ts'
import { assertNothingLeft, execute } from './registration.ts'

/** What the tests read of a server. */
export interface ServerJson {
  readonly id: string
  readonly status: string
  readonly hostname: string
  readonly compatibility_mode: boolean
  readonly accelerator: string | null
  readonly ssh_port: number | null
  readonly started_at: string | null
  readonly console_url: string | null
  readonly console_token: string | null
  readonly trouble: { readonly message: string; readonly hint: string } | null
  readonly snapshots: readonly { readonly id: string; readonly name: string }[]
  readonly volumes: readonly {
    readonly id: string
    readonly status: string
    readonly size: number
    readonly fill: { readonly percent: number; readonly stands_alone: boolean }
  }[]
}

/** Settings of a daemon whose servers are for tests: emulated, at ports that other test files do not use. */
export function serverSettings(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const first = 10_000 + (process.pid % 200) * 100
  return { 'servers.accelerator': 'tcg', 'servers.ssh_ports': `${first}-${first + 99}`, ...more }
}

/** MiB of the disks that `buildServer` asks for. */
export const DISK_SIZE = 128

export async function buildServer(daemon: Daemon, image: string, more: object = {}): Promise<ServerJson> {
  const { status, body } = await daemon.api<ServerJson>('POST', '/1.0/servers', {
    server_type: '1gb.net',
    volumes: [{ image, size: DISK_SIZE }],
    ...more,
  })
  assert.equal(status, 202, JSON.stringify(body))
  return body
}

export async function showServer(daemon: Daemon, id: string): Promise<ServerJson> {
  const { status, body } = await daemon.api<ServerJson>('GET', `/1.0/servers/${id}`)
  assert.equal(status, 200, JSON.stringify(body))
  return body
}

/** Waits, by asking, until a server is as it should be. */
export async function serverIs(
  daemon: Daemon,
  id: string,
  is: string | ((server: ServerJson) => boolean),
  limitMs = 60_000,
): Promise<ServerJson> {
  const fits = typeof is === 'string' ? (server: ServerJson) => server.status === is : is
  for (const deadline = Date.now() + limitMs; ; await delay(30)) {
    const server = await showServer(daemon, id)
    if (fits(server)) return server
    if (Date.now() < deadline) continue
    const log = daemon
      .output()
      .split('\n')
      .filter((line) => !line.includes('"msg":"request"'))
    assert.fail(`not ${is} within ${limitMs} ms: ${JSON.stringify(server)}\n${log.slice(-20).join('\n')}`)
  }
}

/** Waits until a server's disk needs its image no more. */
export const standsAlone = (daemon: Daemon, id: string): Promise<ServerJson> =>
  serverIs(daemon, id, ({ volumes }) => volumes[0]?.fill.stands_alone === true)

/** Asks for an action of a server: `start`, `stop`, `snapshot`… */
export async function act(daemon: Daemon, id: string, action: string): Promise<ServerJson> {
  const { status, body } = await daemon.api<ServerJson>('POST', `/1.0/servers/${id}/${action}`)
  assert.equal(status, 202, `${action}: ${JSON.stringify(body)}`)
  return body
}

/** @returns the id of the image that is being made */
export async function snapshot(daemon: Daemon, id: string): Promise<string> {
  return (await act(daemon, id, 'snapshot')).snapshots.at(-1)?.id ?? ''
}

export async function destroyServer(daemon: Daemon, id: string): Promise<void> {
  const { status, body } = await daemon.api('DELETE', `/1.0/servers/${id}`)
  assert.equal(status, 202, JSON.stringify(body))
  await serverIs(daemon, id, 'deleted')
}

/** The guest of a server, when it obeys. */
export async function guestOf(daemon: Daemon, id: string): Promise<Guest> {
  const { console_url: url, console_token: token } = await act(daemon, id, 'activate_console')
  assert.ok(url && token, 'a console has an address and a token')
  const guest = await attachConsole(url, token)
  await guest.ready()
  return guest
}

/** The one QEMU of a server. */
export async function machineOf(daemon: Daemon, id: string): Promise<MachineProcess> {
  const machines = (await machinesOf(daemon.data)).filter(({ folder }) => basename(folder) === id)
  assert.equal(machines.length, 1, `${id} has one QEMU, not ${machines.length}`)
  return machines[0]!
}

/** Reads a stopped server's disk with QEMU's tools into a raw file; says of each file what it is, as QEMU is told. */
export async function readVolume(daemon: Daemon, id: string, target: string): Promise<void> {
  const folder = join(daemon.data, 'servers', id)
  const number = (name: string) => Number(/\d+/.exec(name)?.[0])
  const layers = (await readdir(folder)).filter((name) => /^layer-\d+\.qcow2$/.test(name))
  layers.sort((one, other) => number(one) - number(other))
  const file = (name: string) => ({ driver: 'file', filename: join(folder, name) })
  let chain: object = { driver: 'raw', file: file('base.raw') }
  for (const name of layers) chain = { driver: 'qcow2', file: file(name), backing: chain }
  await execute('qemu-img', ['convert', '-O', 'raw', `json:${JSON.stringify(chain)}`, target])
}

/** Destroys these servers and images, and checks that nothing of any server is left: no process, file or block. */
export async function assertServersVanish(
  daemon: Daemon,
  { servers, images }: { servers: readonly string[]; images: readonly string[] },
): Promise<void> {
  for (const id of servers) await destroyServer(daemon, id)
  for (const id of images) {
    assert.equal((await daemon.api('DELETE', `/1.0/images/${id}`)).status, 202)
    while ((await daemon.api('GET', `/1.0/images/${id}`)).status !== 404) await delay(20)
  }
  assert.deepEqual(await machinesOf(daemon.data), [])
  // Which library's servers lie there is said in a file that stays.
  const words = [join(daemon.data, 'servers'), '-not', '-type', 'd', '-not', '-name', 'home']
  const { stdout } = await execute('find', words)
  assert.equal(stdout, '', 'no file of a server, no socket')
  await assertNothingLeft(daemon, daemon.settings)
}
