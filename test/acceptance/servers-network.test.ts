import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, type TestContext, test } from 'node:test'
import { bootableImage, IMAGE_TOOLS } from '../support/bootable-image.ts'
import { startDaemon } from '../support/daemon.ts'
import { startFileServer } from '../support/file-server.ts'
import type { Guest } from '../support/guest.ts'
import { endMachines } from '../support/machines.ts'
import { register, settled } from '../support/registration.ts'
import {
  act,
  buildServer,
  destroyServer,
  guestOf,
  machineOf,
  serverIs,
  serverSettings,
} from '../support/servers.ts'
import { needs } from '../support/tools.ts'

const FIRST_UID = 950_000
const SUBNET = `10.77.${process.pid % 250}`
const BRIDGE = `ilbr${process.pid}`

describe('networks of servers', needs('qemu-system-x86_64', 'ip', 'nft', ...IMAGE_TOOLS), () => {
  let data: string
  let image: string
  let listener: Server
  before(async () => {
    data = await mkdtemp(join(tmpdir(), 'networks-'))
    // Of the host, for everybody who reaches it.
    listener = createServer((socket) => {
      socket.on('error', () => {})
      socket.end('reached\n')
    }).listen(0, '0.0.0.0')
    await once(listener, 'listening')
    await using files = await startFileServer(dirname(bootableImage('virtio')))
    await using daemon = await startDaemon({ data })
    image = (await register(daemon, files.url(basename(bootableImage('virtio'))))).id
    assert.equal((await settled(daemon, image)).status, 'available')
  })
  after(async () => {
    await endMachines(data)
    listener?.close()
    await rm(data, { recursive: true, force: true })
  })

  const portOf = () => (listener.address() as AddressInfo).port
  const begin = (network: string, firstUid = String(FIRST_UID)) => {
    const settings = { 'servers.network': network, 'servers.first_uid': firstUid }
    return startDaemon({ data, settings: serverSettings(settings) })
  }

  /** Whether the guest reaches the listener at this address. */
  const reaches = async (guest: Guest, address: string) =>
    (await guest.run(`timeout 2 nc ${address} ${portOf()} </dev/null || echo no`)) === 'reached'

  /** What whoever connects to a server's forwarded port hears from its port 22. */
  async function heardAt(port: number | null): Promise<string> {
    return text(connect(port ?? 0, '127.0.0.1'))
  }

  test('user: the guest has an address, reaches the host, and is reached at its port', async (t) => {
    await using daemon = await begin('user')
    const { id } = await buildServer(daemon, image)
    const { ssh_port: port } = await serverIs(daemon, id, 'active')
    using guest = await guestOf(daemon, id)
    assert.match(await guest.run('net'), /^10\.0\.2\.\d+\/24$/)
    await guest.run('answer 22 hello')
    assert.equal(await heardAt(port), 'hello\n')
    assert.ok(await reaches(guest, '10.0.2.2'), 'as a program of this machine would')
    await withRulesOfGuide(t, async () => {
      assert.ok(!(await reaches(guest, '10.0.2.2')), 'the rules keep it from the host')
      assert.equal(await heardAt(port), 'hello\n', 'who is asked may answer')
    })
    assert.ok(await reaches(guest, '10.0.2.2'))
    await destroyServer(daemon, id)
  })

  test('isolated: the guest reaches nothing, and is reached at its port', async () => {
    await using daemon = await begin('isolated')
    const { id } = await buildServer(daemon, image)
    const { ssh_port: port } = await serverIs(daemon, id, 'active')
    using guest = await guestOf(daemon, id)
    assert.match(await guest.run('net'), /^10\.0\.2\.\d+\/24$/)
    await guest.run('answer 22 hello')
    assert.equal(await heardAt(port), 'hello\n')
    assert.ok(!(await reaches(guest, '10.0.2.2')))
    await destroyServer(daemon, id)
  })

  test('bridge: the guest is on it, and its device goes with it', async (t) => {
    if (!makeBridge()) return t.diagnostic('needs root, to make network devices')
    try {
      await using daemon = await begin(`bridge:${BRIDGE}`, await uidForTun(t))
      const { id } = await buildServer(daemon, image)
      assert.equal((await serverIs(daemon, id, 'active')).ssh_port, null, 'nothing is forwarded')
      const { words } = await machineOf(daemon, id)
      const device = /ifname=([^,]+)/.exec(words.join(' '))?.[1] ?? ''
      assert.ok(await isOnBridge(device))
      using guest = await guestOf(daemon, id)
      await guest.run(`ip link set eth0 up; ip addr add ${SUBNET}.2/24 dev eth0`)
      assert.ok(await reaches(guest, `${SUBNET}.1`))
      await guest.run('answer 22 hello')
      assert.equal(await text(connect(22, `${SUBNET}.2`)), 'hello\n')
      // Once more: the device of the last start is not in its way.
      await act(daemon, id, 'stop')
      await serverIs(daemon, id, 'inactive')
      assert.ok(!(await devices()).includes(device))
      await act(daemon, id, 'start')
      await serverIs(daemon, id, 'active')
      assert.ok(await isOnBridge(device))
      await destroyServer(daemon, id)
      assert.ok(!(await devices()).includes(device))
    } finally {
      execFileSync('ip', ['link', 'del', BRIDGE])
    }
  })
})

const devices = () => readdir('/sys/class/net')
const isOnBridge = async (device: string) => (await readdir(`/sys/class/net/${BRIDGE}/brif`)).includes(device)

/** Only root may, and not everywhere. */
function makeBridge(): boolean {
  const ip = (...words: string[]) => execFileSync('ip', words, { stdio: 'ignore' })
  const tap = `${BRIDGE}t`
  try {
    ip('tuntap', 'add', 'dev', tap, 'mode', 'tap')
    ip('link', 'del', tap)
    ip('link', 'add', 'name', BRIDGE, 'type', 'bridge')
  } catch {
    return false
  }
  ip('addr', 'add', `${SUBNET}.1/24`, 'dev', BRIDGE)
  ip('link', 'set', BRIDGE, 'up')
  return true
}

/** The first of the Unix users of servers; `none`, which is root, where nobody else may open network devices. */
async function uidForTun(t: TestContext): Promise<string> {
  if (((await stat('/dev/net/tun')).mode & 0o006) === 0o006) return String(FIRST_UID)
  t.diagnostic('/dev/net/tun is not for everybody: QEMU runs as root')
  return 'none'
}

/** Does something while the guide's rules hold, for the Unix users of this test's servers. */
async function withRulesOfGuide(t: TestContext, work: () => Promise<void>): Promise<void> {
  const guide = await readFile('docs/guides/servers.md', 'utf8')
  const rules = /^ {4}table inet image_library \{\n(?: {4}.*\n)*? {4}\}$/m.exec(guide)?.[0] ?? ''
  assert.match(rules, /skuid 930000-995535/)
  const table = `ilnft${process.pid}`
  const ours = rules
    .replace('930000-995535', `${FIRST_UID}-${FIRST_UID + 65_535}`)
    .replace('image_library', table)
  try {
    execFileSync('nft', ['-f', '-'], { input: ours, stdio: ['pipe', 'ignore', 'ignore'] })
  } catch {
    return t.diagnostic('needs root, to set rules')
  }
  try {
    await work()
  } finally {
    execFileSync('nft', ['delete', 'table', 'inet', table])
  }
}
