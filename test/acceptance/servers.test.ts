import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { bootableImage, type Drivers, IMAGE_TOOLS, LAYOUT, patternSum } from '../support/bootable-image.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import { firstUser, sftpPort } from '../support/orbit.ts'
import { execute, register, settled } from '../support/registration.ts'
import { type Cli, openCli } from '../support/run-cli.ts'
import {
  act,
  assertServersVanish,
  buildServer,
  DISK_SIZE,
  destroyServer,
  guestOf,
  readVolume,
  serverIs,
  serverSettings,
  standsAlone,
} from '../support/servers.ts'
import { needs } from '../support/tools.ts'

const TOOLS = [
  'qemu-system-x86_64',
  'qemu-img',
  'sftp',
  'sshpass',
  'lz4',
  'cmp',
  'find',
  ...IMAGE_TOOLS,
] as const
const DISK = { disk: DISK_SIZE * 2048 }

describe('servers', needs(...TOOLS), () => {
  let folder: string
  let daemon: Daemon
  let files: FileServer
  let cli: Cli
  const images = new Map<Drivers, string>()
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'servers-'))
    files = await startFileServer(dirname(bootableImage('virtio')))
    daemon = await startDaemon({ arguments: ['--sftp', '127.0.0.1:0'], settings: serverSettings() })
    cli = await openCli()
    for (const drivers of ['virtio', 'emulated'] as const) images.set(drivers, await registered(drivers))
  })
  after(async () => {
    await cli?.[Symbol.asyncDispose]()
    await daemon?.[Symbol.asyncDispose]()
    await files?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  const urlOf = (drivers: Drivers) => files.url(basename(bootableImage(drivers)))

  async function registered(drivers: Drivers): Promise<string> {
    const { id } = await register(daemon, urlOf(drivers), { name: `${drivers} drivers` })
    const image = await settled(daemon, id)
    assert.equal(image.status, 'available', JSON.stringify(image))
    return id
  }

  /** Runs the command line as the library's first client. @returns what it printed */
  async function brightbox(...words: string[]): Promise<string> {
    const { out, err, code } = await cli.runWith({ env: { BRIGHTBOX_CONFIG: daemon.config } }, ...words)
    assert.equal(code, 0, `${words.join(' ')}:\n${out}${err}`)
    return out
  }

  test('from a URL to a server, to an image, to a server again; then nothing is left of them', async () => {
    const idIn = (out: string, kind: string) => new RegExp(`\\b${kind}-[0-9a-z]{5}\\b`).exec(out)?.[0] ?? ''
    const url = urlOf('both')
    const image = idIn(await brightbox('image', 'register', '--url', url, '-a', 'x86_64', '--wait'), 'img')
    const size = String(DISK_SIZE)
    const line = ['server', 'create', '-n', 'first', '-t', '1gb.net', '--volume-size', size, image]
    const first = idIn(await brightbox(...line), 'srv')
    await serverIs(daemon, first, 'active')
    using guest = await guestOf(daemon, first)
    const { disk, diskdriver, sectors, netdriver } = await guest.report()
    assert.deepEqual(
      { disk, diskdriver, sectors, netdriver },
      { disk: 'vda', diskdriver: 'virtio_blk', sectors: String(DISK.disk), netdriver: 'virtio_net' },
    )
    await guest.run(`write ${LAYOUT.free} 5 pattern`)
    const data = await guest.run(`sum ${LAYOUT.data} ${LAYOUT.dataSize}`)

    const snapped = idIn(await brightbox('server', 'snapshot', '--wait', first), 'img')
    assert.equal(await guest.run('echo still here'), 'still here')
    const again = idIn(await brightbox(...line.slice(0, -1), snapped), 'srv')
    await serverIs(daemon, again, 'active')
    using second = await guestOf(daemon, again)
    assert.equal(await second.run(`sum ${LAYOUT.free} 5`), patternSum(LAYOUT.free, 5, 'pattern'))
    assert.equal(await second.run(`sum ${LAYOUT.data} ${LAYOUT.dataSize}`), data)

    await standsAlone(daemon, first)
    await brightbox('server', 'stop', first)
    await serverIs(daemon, first, 'inactive')
    await readVolume(daemon, first, join(folder, 'volume'))
    await downloadBySftp(snapped, join(folder, 'snapshot.lz4'))
    await execute('lz4', ['-dqf', join(folder, 'snapshot.lz4'), join(folder, 'snapshot')])
    await execute('cmp', [join(folder, 'volume'), join(folder, 'snapshot')])

    await brightbox('server', 'destroy', first, again)
    for (const id of [first, again]) await serverIs(daemon, id, 'deleted')
    const others = [...images.values()]
    await assertServersVanish(daemon, { servers: [], images: [image, snapped, ...others] })
    for (const drivers of images.keys()) images.set(drivers, await registered(drivers))
  })

  async function downloadBySftp(image: string, target: string): Promise<void> {
    const { user, key } = await firstUser(daemon)
    const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR']
      .concat([`Port=${sftpPort(daemon)}`, 'BatchMode=no'])
      .flatMap((option) => ['-o', option])
    const words = ['-e', 'sftp', ...options, `${user}@127.0.0.1:images/${image}`, target]
    await execute('sshpass', words, { env: { PATH: process.env.PATH, SSHPASS: key }, timeout: 60_000 })
  }

  const found = {
    virtio: { disk: 'vda', diskdriver: 'virtio_blk', netdriver: 'virtio_net' },
    emulated: { disk: 'sda', diskdriver: 'ata_piix', netdriver: 'e1000' },
  } as const

  for (const drivers of ['virtio', 'emulated'] as const) {
    test(`a guest with ${drivers} drivers has disk and network in its mode and neither in the other`, async () => {
      const build = (compatibility: boolean) =>
        buildServer(daemon, images.get(drivers) ?? '', { compatibility_mode: compatibility })
      const isCompatible = drivers === 'emulated'
      const [inMode, inOther] = [await build(isCompatible), await build(!isCompatible)]
      for (const { id } of [inMode, inOther]) await serverIs(daemon, id, 'active')
      {
        using guest = await guestOf(daemon, inMode.id)
        const { disk, diskdriver, netdriver } = await guest.report()
        assert.deepEqual({ disk, diskdriver, netdriver }, found[drivers])
        assert.match((await guest.seed())['meta-data'] ?? '', new RegExp(inMode.hostname))
        assert.match(await guest.run('net'), /^10\.0\.2\.\d+\/24$/)
      }
      {
        using guest = await guestOf(daemon, inOther.id)
        const { disk, net } = await guest.report()
        assert.deepEqual([disk, net], ['none', 'none'])
      }
      for (const { id } of [inMode, inOther]) await destroyServer(daemon, id)
    })
  }

  test('first boot: hostname, keys and user data are there, and the forwarded port leads to port 22', async () => {
    const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJlcAbVd0pDg4Q8mFhXvVVlkMvWZuo8sSyqTg6vNnb8H me@here'
    const added = await daemon.api('POST', '/1.0/ssh_keys', { public_key: key })
    assert.equal(added.status, 201, JSON.stringify(added.body))
    const userData = '#cloud-config\npackages: [ntp]\n# größer\n'
    const { id, hostname } = await buildServer(daemon, images.get('virtio') ?? '', {
      user_data: Buffer.from(userData).toString('base64'),
    })
    const { ssh_port: port, accelerator } = await serverIs(daemon, id, 'active')
    assert.equal(accelerator, 'tcg')
    using guest = await guestOf(daemon, id)
    const seed = await guest.seed()
    assert.equal(seed['user-data'], userData)
    assert.match(seed['meta-data'] ?? '', new RegExp(`local-hostname"?: *"?${hostname}`))
    assert.ok(seed['meta-data']?.includes(key.split(' ')[1] ?? ''), seed['meta-data'])
    await guest.run('net')
    await guest.run('answer 22 hello')
    const socket = connect(port ?? 0, '127.0.0.1')
    assert.equal(await text(socket), 'hello\n')
    await destroyServer(daemon, id)
  })

  test('start, stop, shutdown, reboot and reset do what they say, and the disk keeps its data', async () => {
    const { id } = await buildServer(daemon, images.get('virtio') ?? '')
    await serverIs(daemon, id, 'active')
    {
      using guest = await guestOf(daemon, id)
      await guest.run(`write ${LAYOUT.free} 1 kept`)
      for (const action of ['reset', 'reboot']) {
        const boots = guest.hears(/^READY$/m, 60_000)
        await act(daemon, id, action)
        await boots
      }
    }
    await act(daemon, id, 'shutdown')
    await serverIs(daemon, id, 'inactive')
    const refused = await daemon.api('POST', `/1.0/servers/${id}/stop`)
    assert.equal(refused.status, 409)
    await act(daemon, id, 'start')
    await serverIs(daemon, id, 'active')
    {
      using guest = await guestOf(daemon, id)
      assert.equal(await guest.run(`sum ${LAYOUT.free} 1`), patternSum(LAYOUT.free, 1, 'kept'))
    }
    await act(daemon, id, 'stop')
    await serverIs(daemon, id, 'inactive')
    const snapshots = (await act(daemon, id, 'snapshot')).snapshots
    const image = await settled(daemon, snapshots[0]?.id ?? '')
    assert.equal(image.status, 'available', 'of a server that does not run, too')
    await act(daemon, id, 'start')
    await serverIs(daemon, id, 'active')
    await destroyServer(daemon, id)
    assert.ok(!(await readdir(join(daemon.data, 'servers'))).includes(id), 'its folder is gone')
  })
})
