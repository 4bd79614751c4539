import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { AGENT_IMAGE_TOOLS, bootableImage, LAYOUT } from '../support/bootable-image.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import type { Guest } from '../support/guest.ts'
import { endMachines } from '../support/machines.ts'
import { downloadTo, execute, register, settled } from '../support/registration.ts'
import { buildServer, guestOf, serverIs, serverSettings, snapshot } from '../support/servers.ts'
import { needs } from '../support/tools.ts'

describe('snapshots and the guest agent', needs('qemu-system-x86_64', 'e2fsck', ...AGENT_IMAGE_TOOLS), () => {
  let folder: string
  let daemon: Daemon
  let files: FileServer
  let server: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'agent-'))
    files = await startFileServer(dirname(bootableImage('agent')))
    daemon = await startDaemon({ data: join(folder, 'data'), settings: serverSettings() })
    const image = await register(daemon, files.url(basename(bootableImage('agent'))))
    assert.equal((await settled(daemon, image.id)).status, 'available')
    server = (await buildServer(daemon, image.id)).id
    await serverIs(daemon, server, 'active')
    using guest = await guestOf(daemon, server)
    await guest.run('files')
    await written(guest)
  })
  after(async () => {
    await daemon?.[Symbol.asyncDispose]()
    await endMachines(join(folder, 'data'))
    await files?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** Waits until the guest has written another ten files. */
  const written = (guest: Guest) =>
    guest.run(
      'n=$(cat /disk/last || echo 0); until [ "$(cat /disk/last)" -ge $((n + 10)) ]; do sleep 0.1; done',
    )

  /** Takes a snapshot. @returns a copy of its file system, and what the event says of how it was taken */
  async function snapped(): Promise<{ path: string; how: string; tookMs: number }> {
    const from = performance.now()
    const image = await snapshot(daemon, server)
    const tookMs = performance.now() - from
    const { body: events } = await daemon.api<{ message: string }[]>('GET', '/1.0/events')
    const how =
      events.find(({ message }) => message.startsWith(`Snapshot ${image} was taken `))?.message ?? ''
    assert.equal((await settled(daemon, image)).status, 'available')
    const disk = join(folder, 'disk')
    await downloadTo(daemon, image, 'raw', disk)
    const path = join(folder, 'ext4')
    await using file = await open(disk)
    const bytes = Buffer.alloc((LAYOUT.size - LAYOUT.free) << 20)
    await file.read(bytes, 0, bytes.length, LAYOUT.free << 20)
    await writeFile(path, bytes)
    return { path, how, tookMs }
  }

  /** Fails where anything is wrong; writes nothing. */
  const check = (path: string) => execute('e2fsck', ['-fn', path])

  test('without an agent: what a power failure would have left, which a journal mends', async () => {
    using guest = await guestOf(daemon, server)
    const { path, how, tookMs } = await snapped()
    assert.match(how, /as after a power failure/)
    assert.ok(tookMs < 1000, `nobody was waited for, but it took ${tookMs} ms`)
    assert.ok(await needsRecovery(path))
    await execute('e2fsck', ['-y', '-E', 'journal_only', path])
    await check(path)
    await written(guest)
  })

  test('with an agent: the file system is whole, and the guest goes on writing', async () => {
    using guest = await guestOf(daemon, server)
    await guest.run('agent')
    for (const _ of [1, 2]) {
      const { path, how } = await snapped()
      assert.match(how, /with its file systems frozen/)
      assert.ok(!(await needsRecovery(path)), 'nothing is left in the journal')
      await check(path)
      await written(guest)
    }
  })

  test('with an agent that hangs: the snapshot is that of a power failure, and waits for it a moment', async () => {
    using guest = await guestOf(daemon, server)
    await guest.run('kill -STOP $(cat /run/agent.pid)')
    const { how, tookMs } = await snapped()
    assert.match(how, /as after a power failure/)
    assert.ok(tookMs < 3000, `${tookMs} ms`)
    await written(guest)
    await guest.run('kill -CONT $(cat /run/agent.pid)')
    await written(guest)
    assert.match((await snapped()).how, /with its file systems frozen/)
    await written(guest)
  })

  test('a daemon that is killed while the file system is frozen: the next one thaws it', async () => {
    daemon.process.kill('SIGKILL')
    await once(daemon.process, 'exit')
    await freeze(join(daemon.data, 'servers', server))
    daemon = await startDaemon({ data: daemon.data, settings: serverSettings() })
    await serverIs(daemon, server, 'active')
    using guest = await guestOf(daemon, server)
    await written(guest)
  })
})

/** Asks the agent what the daemon asks it, and leaves. */
async function freeze(folder: string): Promise<void> {
  const socket = connect(join(folder, 'agent.sock'))
  await once(socket, 'connect')
  socket.write('\n{"execute": "guest-fsfreeze-freeze"}\n')
  const [answer] = await once(socket, 'data')
  assert.match(String(answer), /"return": *1/)
  socket.destroy()
}

/** The bit INCOMPAT_RECOVER of ext4's superblock: the journal has what the file system has not. */
async function needsRecovery(path: string): Promise<boolean> {
  await using file = await open(path)
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 1024 + 0x60)
  return (buffer.readUInt8() & 4) !== 0
}
