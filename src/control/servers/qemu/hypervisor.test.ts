import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import {
  attachGuest,
  becomes,
  DISK_SIZE,
  machineFolders,
  pidIn,
  takePort,
} from '../../../../test/support/machine-folder.ts'
import { needs } from '../../../../test/support/tools.ts'
import { removeTap } from '../network/tap.ts'

const run = promisify(execFile)
const status = (pid: number | undefined) => readFile(`/proc/${pid}/status`, 'utf8')
const isRoot = process.getuid?.() === 0

describe('hypervisor', { ...needs('qemu-system-x86_64', 'qemu-img', 'qemu-io'), concurrency: 2 }, () => {
  for (const compatibilityMode of [false, true]) {
    test(`a guest runs, writes and turns itself off${compatibilityMode ? ' in compatibility mode' : ''}`, async () => {
      await using folders = await machineFolders()
      const spec = await folders.add('srv-aaaaa', { compatibilityMode })
      const machine = await folders.start(spec)
      using guest = await attachGuest(spec)
      assert.equal(await guest.tell('r1'), '\0')
      assert.equal(await guest.tell('w1x'), 'x')
      assert.equal(await guest.tell('r1'), 'x')
      assert.equal(await machine.isHeld(), false)
      await guest.tell('p').catch(() => {})
      assert.equal(await machine.ended, 'powered-off')
      assert.equal(await pidIn(spec.folder), undefined)
    })
  }

  test('a guest starts again when its reset button is pressed, or as it is asked to', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa', { cores: 8 })
    const machine = await folders.start(spec)
    using guest = await attachGuest(spec)
    await guest.tell('r1')
    for (const begin of [() => machine.reset(), () => machine.askReboot()]) {
      const started = guest.said('R')
      await begin()
      await started
      assert.equal(await guest.tell('r1'), '\0')
    }
    // This guest does not know that button.
    await machine.pressPower()
    assert.equal(await guest.tell('r1'), '\0')
  })

  test('a machine is found again by who did not start it', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa')
    const first = await folders.start(spec)
    const pid = await pidIn(spec.folder)
    first.detach()
    const again = await folders.createNew().find(spec.folder)
    assert.ok(again)
    assert.equal(await pidIn(spec.folder), pid)
    assert.deepEqual(await again.layers(), ['layer-0.qcow2'])
    await again.quit()
    assert.equal(await again.ended, 'quit')
    assert.equal(await folders.createNew().find(spec.folder), undefined)
  })

  test('a machine that was killed has died', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa')
    const machine = await folders.start(spec)
    process.kill((await pidIn(spec.folder)) ?? 0, 'SIGKILL')
    assert.equal(await machine.ended, 'died')
    await assert.rejects(machine.reset(), { code: 'unavailable' })
    await machine.quit()
  })

  test('a machine whose QEMU hangs is not found, and ended', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa')
    const machine = await folders.start(spec)
    const pid = await pidIn(spec.folder)
    machine.detach()
    process.kill(pid ?? 0, 'SIGSTOP')
    assert.equal(await folders.machines.find(spec.folder), undefined)
    assert.equal(await pidIn(spec.folder), undefined)
  })

  test('a QEMU that hangs can be quit', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa')
    const machine = await folders.start(spec)
    process.kill((await pidIn(spec.folder)) ?? 0, 'SIGSTOP')
    await machine.quit()
    assert.equal(await machine.ended, 'quit')
  })

  test('machines that nobody wants are ended, and no others', async () => {
    await using folders = await machineFolders()
    const [kept, other] = [await folders.add('srv-aaaaa'), await folders.add('srv-bbbbb')]
    const machine = await folders.start(kept)
    await folders.start(other)
    await rm(other.folder, { recursive: true })
    assert.equal(await folders.machines.endOthers(folders.folder, new Set([kept.folder])), 1)
    assert.equal(await folders.machines.endOthers(folders.folder, new Set([kept.folder])), 0)
    assert.deepEqual(await machine.layers(), kept.layers)
    assert.equal(await folders.machines.endOthers(folders.folder, new Set()), 1)
    assert.equal(await machine.ended, 'died')
  })

  test('a start that cannot be says what QEMU said, and leaves nothing', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa', { layers: ['layer-7.qcow2'] })
    await assert.rejects(folders.start(spec), {
      code: 'unavailable',
      message: /^start QEMU of srv-aaaaa: .*layer-7\.qcow2.*No such file/,
    })
    await using taken = await takePort()
    const network = {
      kind: 'user',
      sshAddress: '127.0.0.1',
      sshPort: taken.port,
      isolated: false,
    } as const
    const second = await folders.add('srv-bbbbb', { network })
    await assert.rejects(folders.start(second), { message: /Could not set up host forwarding/ })
    const third = await folders.add('srv-ccccc', { network: { ...network, sshAddress: '::1' } })
    await assert.rejects(folders.start(third), { message: /IPv4 addresses only/ })
    const fourth = await folders.add('srv-ddddd')
    await writeFile(join(fourth.folder, 'layer-0.qcow2'), 'not a layer')
    await assert.rejects(folders.start(fourth), { message: /srv-ddddd/ })
    for (const { folder } of [spec, second, third, fourth]) assert.equal(await pidIn(folder), undefined)
  })

  test('a machine that runs is not started again', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa')
    const machine = await folders.start(spec)
    await assert.rejects(folders.start(spec), { code: 'unavailable', message: /runs already/ })
    machine.detach()
    assert.ok(await folders.machines.find(spec.folder))
  })

  test('a start that is aborted leaves nothing', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa', { base: 'export' })
    // Nobody answers at this socket, so QEMU waits.
    const { createServer } = await import('node:net')
    const server = createServer().listen(join(spec.folder, 'image.sock'))
    const abort = new AbortController()
    const starting = folders.machines.start(spec, abort.signal)
    starting.catch(() => {})
    assert.ok(await becomes(async () => (await pidIn(spec.folder)) !== undefined))
    abort.abort(new Error('stopped here'))
    await assert.rejects(starting, { message: 'stopped here' })
    assert.equal(await pidIn(spec.folder), undefined)
    server.close()
  })

  test('a machine has its sandbox and its limits, and listens nowhere but for SSH', async () => {
    await using folders = await machineFolders()
    const free = await takePort()
    await free[Symbol.asyncDispose]()
    const spec = await folders.add('srv-aaaaa', {
      cores: 4,
      network: { kind: 'user', sshAddress: '127.0.0.1', sshPort: free.port, isolated: true },
    })
    await folders.start(spec)
    const pid = await pidIn(spec.folder)
    assert.match(await status(pid), /^Seccomp:\t2$/m)
    const limits = await readFile(`/proc/${pid}/limits`, 'utf8')
    assert.match(limits, /^Max core file size +0 +0 /m)
    const longest = Math.ceil(DISK_SIZE * 1.02) + 256 * 1024 * 1024
    assert.match(limits, new RegExp(`^Max file size +${longest} +${longest} `, 'm'))
    assert.match(limits, new RegExp(`^Max address space +${(32 + 3072) * 1024 * 1024} `, 'm'))
    assert.doesNotMatch((await readFile(`/proc/${pid}/environ`)).toString(), /HOME=/)
    const { stdout } = await run('sh', ['-c', `ls -l /proc/${pid}/fd | grep -o 'socket:.[0-9]*'; true`])
    const sockets = stdout.split('\n').map((line) => line.replace(/\D/g, ''))
    const tables = await Promise.all(
      ['tcp', 'tcp6', 'udp'].map((name) => readFile(`/proc/net/${name}`, 'utf8')),
    )
    const ours = tables.flatMap((text) =>
      text.split('\n').filter((line) => sockets.includes(line.trim().split(/\s+/)[9] ?? '-')),
    )
    assert.equal(ours.length, 1)
    const port = free.port.toString(16).toUpperCase().padStart(4, '0')
    assert.ok(ours[0]?.includes(`0100007F:${port} 00000000:0000 0A`), ours[0])
  })

  test('a machine runs as a user of its own', isRoot ? {} : { skip: 'needs root' }, async () => {
    await using folders = await machineFolders()
    const user = { uid: 70_001, gid: 70_001 }
    const spec = await folders.add('srv-aaaaa', { user })
    const machine = await folders.start(spec)
    const pid = await pidIn(spec.folder)
    assert.match(await status(pid), /^Uid:\t70001\t70001\t70001\t70001$/m)
    assert.match(await status(pid), /^Groups:\t *$/m)
    assert.match(await readFile(`/proc/${pid}/limits`, 'utf8'), /^Max processes +128 +128 /m)
    const folder = await stat(spec.folder)
    assert.deepEqual([folder.uid, folder.mode & 0o777], [70_001, 0o700])
    assert.deepEqual((await stat(join(spec.folder, 'layer-0.qcow2'))).uid, 70_001)
    // The base is every server's that has the same image.
    assert.deepEqual((await stat(join(spec.folder, 'base.raw'))).uid, 0)
    await assert.rejects(run('ls', [spec.folder], { uid: 70_002, gid: 70_002 }))
    using guest = await attachGuest(spec)
    assert.equal(await guest.tell('w2y'), 'y')
    await machine.quit()
  })

  const mayBridge = isRoot && needs('ip').skip === undefined
  test('a machine is on a bridge', mayBridge ? {} : { skip: 'needs root and ip (iproute2)' }, async () => {
    await using folders = await machineFolders()
    const bridge = `il-br${process.pid}`
    const device = `il-tap9${process.pid}`
    const network = { kind: 'tap', device, bridge } as const
    // Where udev made it, everybody may open this; whose device it leads to is checked by the kernel.
    const isOpen = ((await stat('/dev/net/tun')).mode & 0o006) === 0o006
    const user = isOpen ? { uid: 70_001, gid: 70_001 } : undefined
    const spec = await folders.add('srv-aaaaa', { network, user })
    const devices = () => readdir('/sys/class/net')
    await assert.rejects(folders.start(spec), {
      code: 'unavailable',
      message: new RegExp(`${device} on ${bridge}`),
    })
    assert.ok(!(await devices()).includes(device))
    await run('ip', ['link', 'add', bridge, 'type', 'bridge'])
    try {
      const machine = await folders.start(spec)
      const { stdout } = await run('ip', ['-o', 'link', 'show', device])
      assert.match(stdout, new RegExp(`LOWER_UP.* master ${bridge} `))
      const second = await folders.add('srv-bbbbb', { network, user })
      await assert.rejects(folders.start(second), { message: /in use/ })
      await removeTap(device)
      machine.detach()
      const again = await folders.machines.find(spec.folder)
      await again?.quit()
      assert.ok(!(await devices()).includes(device))
    } finally {
      await run('ip', ['link', 'del', bridge])
    }
  })

  test('a long path of the data folder is no hindrance', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add(`srv-${'a'.repeat(150)}`)
    const machine = await folders.start({ ...spec, id: 'srv-aaaaa' })
    assert.deepEqual(await machine.layers(), spec.layers)
  })

  test('nothing of a server’s user outlives its QEMU', isRoot ? {} : { skip: 'needs root' }, async () => {
    await using folders = await machineFolders()
    const user = { uid: 70_003, gid: 70_003 }
    const spec = await folders.add('srv-aaaaa', { user })
    const other = await folders.add('srv-bbbbb')
    const sleep = (cwd: string, uid: number) => {
      const child = spawn('sleep', ['60'], { cwd, uid, gid: uid, stdio: 'ignore' })
      return { child, isGone: once(child, 'exit') }
    }
    // One of another library that has the same users, and one of somebody else.
    const spared = [sleep(other.folder, user.uid), sleep('/', 70_004)]
    const before = sleep('/', user.uid)
    const machine = await folders.start(spec)
    await before.isGone
    const strays = ['/', spec.folder].map((cwd) => sleep(cwd, user.uid))
    await machine.quit()
    await Promise.all(strays.map(({ isGone }) => isGone))
    for (const { child } of spared) assert.ok(child.exitCode === null && child.kill('SIGKILL'))
  })

  test('a lock that somebody holds on the base keeps nobody from starting', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa')
    const base = join(spec.folder, 'base.raw')
    await chmod(base, 0o644)
    // It locks what it writes to; a lock by who only reads has the same effect.
    const other = spawn('qemu-io', ['-f', 'raw', base], { stdio: ['pipe', 'pipe', 'ignore'] })
    try {
      other.stdin.write('length\n')
      await once(other.stdout, 'data')
      const machine = await folders.start(spec)
      assert.deepEqual(await machine.layers(), spec.layers)
    } finally {
      other.kill('SIGKILL')
    }
  })

  test('a link in the place of a socket leads nowhere', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa')
    const machine = await folders.start(spec)
    machine.detach()
    await run('mv', ['monitor.sock', 'other.sock'], { cwd: spec.folder })
    await run('ln', ['-s', 'other.sock', 'monitor.sock'], { cwd: spec.folder })
    const socket = connect(join(spec.folder, 'monitor.sock'))
    await new Promise((resolve) => socket.once('connect', resolve))
    socket.destroy()
    assert.equal(await folders.machines.find(spec.folder), undefined)
    assert.deepEqual((await readdir(spec.folder)).includes('monitor.sock'), true)
  })
})
