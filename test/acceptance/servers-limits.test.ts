import assert from 'node:assert/strict'
import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { bootableImage, IMAGE_TOOLS, LAYOUT, patternSum } from '../support/bootable-image.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import { libraryAt } from '../support/library-place.ts'
import { machinesOf } from '../support/machines.ts'
import { execute } from '../support/registration.ts'
import { type Cli, openCli } from '../support/run-cli.ts'
import { DISK_SIZE, guestOf, serverIs, serverSettings, standsAlone } from '../support/servers.ts'
import { needs } from '../support/tools.ts'

/** A quarter of an account's memory and disk each, so that four are all it may have. */
const RAM = 256
const SMALL = ['-t', 'small.net', '--volume-size', String(DISK_SIZE)]

describe('limits of servers', needs('qemu-system-x86_64', ...IMAGE_TOOLS), () => {
  let daemon: Daemon
  let files: FileServer
  let cli: Cli
  let account: string
  let image: string
  let servers: string[]
  before(async () => {
    files = await startFileServer(dirname(bootableImage('virtio')))
    daemon = await startDaemon({ settings: serverSettings({ 'servers.snapshot_size': '60 MiB' }) })
    cli = await openCli()
    const url = files.url(basename(bootableImage('virtio')))
    const registered = await brightbox('image', 'register', '--url', url, '-a', 'x86_64', '--wait')
    image = idsIn(registered, 'img')[0] ?? ''
    account = idsIn(registered, 'acc')[0] ?? ''
  })
  after(async () => {
    await cli?.[Symbol.asyncDispose]()
    await daemon?.[Symbol.asyncDispose]()
    await files?.[Symbol.asyncDispose]()
  })

  const idsIn = (text: string, kind: string) => [
    ...new Set(text.match(new RegExp(`\\b${kind}-[0-9a-z]{5}\\b`, 'g'))),
  ]
  const run = (...words: string[]) => cli.runWith({ env: { BRIGHTBOX_CONFIG: daemon.config } }, ...words)

  async function brightbox(...words: string[]): Promise<string> {
    const { out, err, code } = await run(...words)
    assert.equal(code, 0, `${words.join(' ')}:\n${out}${err}`)
    return out
  }

  /** @returns what the command line says why it does not */
  async function refused(...words: string[]): Promise<string> {
    const { out, err, code } = await run(...words)
    assert.notEqual(code, 0, `${words.join(' ')}:\n${out}`)
    return err
  }

  const operator = async (...words: string[]) => {
    const place = await libraryAt(daemon.data)
    return execute('bin/image-library', [...words, ...place, '--config', daemon.settings])
  }
  const limit = (...words: string[]) => operator('account', 'limits', account, ...words)
  const create = (...words: string[]) => ['server', 'create', ...words, image]

  test('types: what the operator changes is seen at once', async () => {
    const line = '--name Small --cores 1 --disk none --ram'.split(' ')
    await operator('server-type', 'add', 'small.net', ...line, `${RAM}MiB`)
    await operator('server-type', 'add', 'tiny.ssd', '--cores', '1', '--ram', '256MiB', '--disk', '64MiB')
    assert.match(await brightbox('types', 'list'), /Small +small\.net +256 +0 +1/)
    await operator('server-type', 'update', 'small.net', '--status', 'deprecated')
    assert.match(await refused(...create(...SMALL)), /small\.net is deprecated/)
    await operator('server-type', 'update', 'small.net', '--status', 'available')
  })

  test('an image that is too large for a type, or wants more memory, is refused with both numbers', async () => {
    assert.match(await refused(...create('-t', 'tiny.ssd')), /96 MiB.* tiny\.ssd has a disk of 64 MiB/)
    const volume = ['-t', 'small.net', '--volume-size', '95']
    assert.match(await refused(...create(...volume)), /96 MiB.* the size asked for is 95 MiB/)
    await brightbox('image', 'update', '--min-ram', '512', image)
    assert.match(await refused(...create(...SMALL)), /512 MiB.* small\.net has 256/)
    await brightbox('image', 'update', '--min-ram', '0', image)
    assert.deepEqual(idsIn(await brightbox('server', 'list'), 'srv'), [])
  })

  test('servers of one image share its base, and none sees what another wrote', async () => {
    servers = idsIn(await brightbox(...create(...SMALL, '-i', '4')), 'srv')
    assert.equal(servers.length, 4)
    await Promise.all(
      servers.map(async (id) => {
        await serverIs(daemon, id, 'active')
        using guest = await guestOf(daemon, id)
        await guest.run(`write ${LAYOUT.free} 2 ${id}`)
      }),
    )
    for (const id of servers) await standsAlone(daemon, id)
    const bases = servers.map((id) => stat(join(daemon.data, 'servers', id, 'base.raw')))
    const [first, ...others] = await Promise.all(bases)
    for (const { ino, nlink } of others) assert.deepEqual([ino, nlink], [first?.ino, 5])
    const sums = await Promise.all(
      servers.map(async (id) => {
        using guest = await guestOf(daemon, id)
        assert.equal(await guest.run(`sum ${LAYOUT.free} 2`), patternSum(LAYOUT.free, 2, id))
        return await guest.run(`sum ${LAYOUT.data} ${LAYOUT.dataSize}`)
      }),
    )
    assert.equal(new Set(sums).size, 1)
  })

  test('quota: the server too many is refused with the numbers, until there is room again', async () => {
    const refusal = () => refused(...create(...SMALL))
    await limit('--servers', '4', '--ram', '1GiB', '--disk', '512MiB')
    assert.match(await refusal(), /may have 4 servers: 4 are used, 1 more wanted/)
    await limit('--servers', '5')
    assert.match(await refusal(), /may have 1024 MiB of memory: 1024 are used, 256 more wanted/)
    await limit('--ram', 'none')
    assert.match(await refusal(), /may have 512 MiB of disk: 512 are used, 128 more wanted/)
    await limit('--servers', '4', '--ram', '1GiB')
    const gone = servers.pop() ?? ''
    await brightbox('server', 'destroy', gone)
    await serverIs(daemon, gone, 'deleted')
    servers.push(...idsIn(await brightbox(...create(...SMALL, '--wait')), 'srv'))
    assert.match(await refusal(), /may have 4 servers/)
  })

  test('a snapshot of more than may be is failed, with both sizes', async () => {
    using guest = await guestOf(daemon, servers[0] ?? '')
    await guest.run(`write ${LAYOUT.free} 40 much`)
    const { code, err } = await run('server', 'snapshot', '--wait', servers[0] ?? '')
    assert.notEqual(code, 0)
    assert.match(err, /more data than a snapshot may have: \d+ bytes and more, 62914560 is the limit/)
    assert.equal(await guest.run(`sum ${LAYOUT.free} 40`), patternSum(LAYOUT.free, 40, 'much'))
  })

  test('a server that is locked is not destroyed', async () => {
    const [id = ''] = servers
    await brightbox('server', 'lock', id)
    assert.match(await refused('server', 'destroy', id), /locked/)
    assert.match(await brightbox('server', 'show', id), /status: active/)
    await brightbox('server', 'unlock', id)
  })

  test('an image that is destroyed before its servers: they stay, and the base goes with the last', async () => {
    await brightbox('image', 'destroy', image)
    const [id = '', ...others] = servers
    assert.match(await refused(...create(...SMALL)), new RegExp(image))
    await brightbox('server', 'destroy', ...others)
    using guest = await guestOf(daemon, id)
    assert.equal(await guest.run(`sum ${LAYOUT.free} 40`), patternSum(LAYOUT.free, 40, 'much'))
    await brightbox('server', 'destroy', id)
    for (const id of servers) await serverIs(daemon, id, 'deleted')
    const left = await readdir(join(daemon.data, 'servers'), { recursive: true })
    assert.deepEqual(left.sort(), ['bases', 'home'])
    assert.deepEqual(await machinesOf(daemon.data), [])
  })
})
