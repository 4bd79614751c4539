import assert from 'node:assert/strict'
import { mkdtemp, open, readdir, readFile, readlink, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { bootableImage, IMAGE_TOOLS } from '../support/bootable-image.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import { downloadTo, register, settled } from '../support/registration.ts'
import {
  act,
  buildServer,
  guestOf,
  machineOf,
  readVolume,
  serverIs,
  serverSettings,
  snapshot,
  standsAlone,
} from '../support/servers.ts'
import { needs } from '../support/tools.ts'

const FIRST_UID = 940_000
const isRoot = process.getuid?.() === 0

describe('isolation of servers', needs('qemu-system-x86_64', 'qemu-img', ...IMAGE_TOOLS), () => {
  let folder: string
  let daemon: Daemon
  let files: FileServer
  let image: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'isolation-'))
    files = await startFileServer(dirname(bootableImage('virtio')))
    daemon = await startDaemon({ settings: serverSettings({ 'servers.first_uid': String(FIRST_UID) }) })
    image = (await register(daemon, files.url(basename(bootableImage('virtio'))))).id
    assert.equal((await settled(daemon, image)).status, 'available')
  })
  after(async () => {
    await daemon?.[Symbol.asyncDispose]()
    await files?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  test('a QEMU is nobody, sees its own files, and listens at its SSH port alone', async () => {
    const [one, other] = [await buildServer(daemon, image), await buildServer(daemon, image)]
    const { ssh_port: port } = await serverIs(daemon, one.id, 'active')
    await serverIs(daemon, other.id, 'active')
    const machine = await machineOf(daemon, one.id)
    const status = await readFile(`/proc/${machine.pid}/status`, 'utf8')
    assert.match(status, /^Seccomp:\t2$/m, 'system calls are filtered')
    const uids = async (id: string) => {
      const status = await readFile(`/proc/${(await machineOf(daemon, id)).pid}/status`, 'utf8')
      return /^Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)$/m.exec(status)?.slice(1).map(Number) ?? []
    }
    const uid = (await uids(one.id))[0] ?? 0
    if (isRoot) {
      assert.deepEqual(await uids(one.id), [uid, uid, uid, uid])
      assert.ok(uid >= FIRST_UID, String(uid))
      assert.notEqual((await uids(other.id))[0], uid, 'each is somebody else')
      assert.match(status, /^CapEff:\t0+$/m)
      assert.match(status, /^Groups:\t\s*$/m)
    }
    const limits = await readFile(`/proc/${machine.pid}/limits`, 'utf8')
    assert.match(limits, /^Max address space\s+\d+\s/m, 'memory')
    if (isRoot) assert.match(limits, /^Max processes\s+\d+\s/m)
    const { mode, uid: owner } = await stat(machine.folder)
    assert.deepEqual([mode & 0o777, owner], [0o700, isRoot ? uid : process.getuid?.()])
    assert.equal((await stat(dirname(machine.folder))).mode & 0o077, 0, 'no server lists the others')
    for (const name of await readdir(machine.folder))
      assert.equal((await stat(join(machine.folder, name))).mode & 0o022, 0, `${name} is nobody's to write`)
    for (const path of await openFiles(machine.pid))
      assert.ok(path.startsWith(`${machine.folder}/`) || path.startsWith('/usr/'), `has ${path} open`)
    assert.deepEqual(await listeningPorts(machine.pid), [port])
    for (const word of machine.words.filter((word) => word.includes('"driver"')))
      assert.doesNotMatch(word, /"filename":"[^"]*\//, 'names files in its own folder')
  })

  test('a qcow2 header that a guest writes at the start of its disk is data', async () => {
    const { id } = await buildServer(daemon, image)
    await serverIs(daemon, id, 'active')
    const header = qcow2Over('/etc/passwd')
    {
      using guest = await guestOf(daemon, id)
      await guest.run(`echo ${header.toString('base64')} | base64 -d | dd of=$D bs=512 conv=notrunc,fsync`)
    }
    const snapped = await snapshot(daemon, id)
    assert.equal((await settled(daemon, snapped)).status, 'available')
    await downloadTo(daemon, snapped, 'raw', join(folder, 'snapshot'))
    await assertBegins(join(folder, 'snapshot'), header)

    const again = await buildServer(daemon, snapped)
    for (const server of [id, again.id]) {
      await serverIs(daemon, server, 'active')
      await standsAlone(daemon, server)
      // Once more over what is there now: a base that begins with the header, and layers that do.
      for (const [action, becomes] of [['stop', 'inactive'] as const, ['start', 'active'] as const]) {
        await act(daemon, server, action)
        await serverIs(daemon, server, becomes)
      }
      await act(daemon, server, 'stop')
      await serverIs(daemon, server, 'inactive')
      await readVolume(daemon, server, join(folder, 'volume'))
      await assertBegins(join(folder, 'volume'), header)
    }
  })
})

/** A whole qcow2 header that names a backing file. */
function qcow2Over(backing: string): Buffer {
  const header = Buffer.alloc(512)
  header.write('QFI\xfb', 'latin1')
  header.writeUInt32BE(3, 4)
  header.writeBigUInt64BE(256n, 8)
  header.writeUInt32BE(backing.length, 16)
  header.writeUInt32BE(16, 20)
  header.writeBigUInt64BE(128n << 20n, 24)
  header.writeUInt32BE(1, 36)
  header.writeBigUInt64BE(65_536n, 40)
  header.writeBigUInt64BE(131_072n, 48)
  header.writeUInt32BE(1, 56)
  header.writeUInt32BE(4, 96)
  header.writeUInt32BE(104, 100)
  header.write(backing, 256)
  return header
}

async function assertBegins(path: string, bytes: Buffer): Promise<void> {
  await using file = await open(path)
  const { buffer } = await file.read(Buffer.alloc(bytes.length), 0, bytes.length, 0)
  assert.ok(buffer.equals(bytes), `${path} begins with what the guest wrote`)
}

/** Files, not sockets or devices, that a process has open. */
async function openFiles(pid: number): Promise<string[]> {
  const paths = await Promise.all((await readdir(`/proc/${pid}/fd`)).map((fd) => linkOf(pid, fd)))
  return paths.filter(
    (path) => path.startsWith('/') && !path.startsWith('/dev/') && !path.startsWith('/memfd'),
  )
}

// One may be closed meanwhile.
const linkOf = (pid: number, fd: string) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')

/** Of TCP and UDP. */
async function listeningPorts(pid: number): Promise<number[]> {
  const fds = await readdir(`/proc/${pid}/fd`)
  const inodes = new Set(
    (await Promise.all(fds.map((fd) => linkOf(pid, fd)))).map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1]),
  )
  const ports: number[] = []
  for (const table of ['tcp', 'tcp6', 'udp', 'udp6']) {
    const lines = (await readFile(`/proc/${pid}/net/${table}`, 'utf8').catch(() => ''))
      .trim()
      .split('\n')
      .slice(1)
    for (const fields of lines.map((line) => line.trim().split(/\s+/))) {
      const isListening = table.startsWith('udp') || fields[3] === '0A'
      if (isListening && inodes.has(fields[9]))
        ports.push(Number.parseInt(fields[1]?.split(':')[1] ?? '', 16))
    }
  }
  return ports
}
