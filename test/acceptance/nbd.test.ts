import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { openStore } from '#data/store/open-store.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import { libraryAt, libraryPlaceAt } from '../support/library-place.ts'
import { createRandom, randomDisk } from '../support/random-disk.ts'
import { execute, type ImageJson, register, settled } from '../support/registration.ts'
import { needs } from '../support/tools.ts'

const MiB = 1024 * 1024
const SIZE = 40 * MiB + 3 * 512
const IMAGE_LIBRARY = join(import.meta.dirname, '..', '..', 'bin', 'image-library')

interface Exported extends AsyncDisposable {
  readonly uri: string
  readonly process: ChildProcess
}

describe('NBD', needs('nbdcopy', 'nbdinfo', 'qemu-img', 'qemu-io', 'cmp'), () => {
  let folder = ''
  let raw = ''
  let files: FileServer
  let daemon: Daemon
  let image: ImageJson

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nbd-tools-'))
    raw = join(folder, 'disk')
    const seed = Math.floor(Math.random() * 2 ** 31)
    console.log(`seed ${seed}`)
    await randomDisk(raw, { size: SIZE, random: createRandom(seed) })
    // Beyond what chance gives, some blocks are empty, and one is not.
    await execute('dd', ['if=/dev/zero', `of=${raw}`, 'bs=1M', 'seek=10', 'count=9', 'conv=notrunc'])
    await execute('dd', ['if=/dev/urandom', `of=${raw}`, 'bs=1M', 'seek=30', 'count=1', 'conv=notrunc'])
    files = await startFileServer(folder)
    daemon = await startDaemon()
    image = await settled(daemon, (await register(daemon, files.url('disk'))).id)
    assert.equal(image.status, 'available', JSON.stringify(image))
  })

  after(async () => {
    await daemon[Symbol.asyncDispose]()
    await files[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })

  /** Runs `image-library export` beside the daemon until it says where it is. */
  async function startExport(...words: string[]): Promise<Exported> {
    const child = spawn(IMAGE_LIBRARY, ['export', image.id, ...(await libraryAt(daemon.data)), ...words], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [uri] = await once(createInterface(child.stdout), 'line')
    return {
      uri,
      process: child,
      async [Symbol.asyncDispose]() {
        if (child.exitCode !== null || child.signalCode !== null) return
        child.kill('SIGTERM')
        const [code] = await once(child, 'exit')
        assert.equal(code, 0)
      },
    }
  }

  const atSocket = (name: string) => startExport('--socket', join(folder, name))

  test('every tool reads the disk, and sees where it is empty', async () => {
    const socket = join(folder, 'all.sock')
    await using exported = await atSocket('all.sock')
    const { uri } = exported
    assert.equal(uri, `nbd+unix:///?socket=${socket}`)
    const info = JSON.parse((await execute('nbdinfo', ['--json', uri])).stdout)
    assert.equal(info.structured, true)
    assert.equal(info.exports[0]['export-size'], SIZE)
    assert.equal(info.exports[0].is_read_only, true)
    assert.equal(info.exports[0].can_multi_conn, true)
    const map = JSON.parse((await execute('nbdinfo', ['--map', '--json', uri])).stdout)
    assert.ok(
      map.some((part: { offset: number; type: number }) => part.offset <= 10 * MiB && part.type === 3),
    )
    assert.equal(
      map.reduce((sum: number, part: { length: number }) => sum + part.length, 0),
      SIZE,
    )

    const copy = join(folder, 'copy')
    for (const options of [
      [],
      ['--connections=4'],
      ['--no-extents'],
      ['--synchronous', '--request-size=65536'],
    ]) {
      await execute('nbdcopy', [...options, uri, copy])
      await execute('cmp', [raw, copy])
      assert.ok((await stat(copy)).blocks * 512 <= SIZE - 9 * MiB, options.join())
      await rm(copy)
    }
    await execute('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', uri, copy])
    await execute('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, copy])
    await execute('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', raw, uri])
    const named = uri.replace('///', `///${image.id}`)
    assert.equal((await execute('nbdinfo', ['--size', named])).stdout.trim(), String(SIZE))
    await assert.rejects(
      execute('nbdinfo', ['--size', uri.replace('///', '///other')]),
      /no export named 'other'/,
    )
    await assert.rejects(execute('qemu-io', ['-f', 'raw', '-c', 'write 0 512', uri]))
    // The last sectors are of a block that is not whole.
    const { stdout } = await execute('qemu-io', ['-r', '-f', 'raw', '-c', `read ${SIZE - 1000} 1000`, uri])
    assert.match(stdout, /read 1000\/1000 bytes/)
    await exported[Symbol.asyncDispose]()
    assert.ok(!existsSync(socket))
  })

  test('a port does as well as a socket; what cannot be exported is said', async () => {
    await using exported = await startExport('--listen', '127.0.0.1:0')
    assert.match(exported.uri, /^nbd:\/\/127\.0\.0\.1:\d+\/$/)
    assert.equal((await execute('nbdinfo', ['--size', exported.uri])).stdout.trim(), String(SIZE))
    const place = await libraryAt(daemon.data)
    const fails = (...words: string[]) =>
      execute(IMAGE_LIBRARY, ['export', ...words, ...place]).then(
        () => assert.fail('it began'),
        ({ stderr }) => stderr as string,
      )
    assert.match(await fails('img-zzzzz'), /image img-zzzzz does not exist/)
    assert.match(await fails(image.id, '--listen', 'x', '--socket', 'y'), /choose one of/)
    assert.match(await fails(image.id, '--listen', 'everywhere'), /--listen must be/)
    assert.match(await fails(image.id, '--socket', `/tmp/${'x'.repeat(120)}`), /its path has 125 bytes/)
  })

  /** QEMU's NBD client, as servers have it, which goes on when its server comes back. */
  function startQemuIo(socket: string) {
    const image = `driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=${socket},file.reconnect-delay=30`
    const child = spawn('qemu-io', ['-r', '--image-opts', image], { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    return {
      /** What it says of one command, up to its result. */
      async run(command: string): Promise<string> {
        child.stdin.write(`${command}\n`)
        for (;;) {
          const { value = '', done } = await lines.next()
          if (done || /read (failed|\d+\/\d+)/.test(value)) return value
        }
      },
      async [Symbol.asyncDispose]() {
        child.stdin.end('quit\n')
        await once(child, 'exit')
      },
    }
  }

  test('QEMU goes on where the export was killed and started again', async () => {
    const exported = await atSocket('again.sock')
    await using qemu = startQemuIo(join(folder, 'again.sock'))
    assert.match(await qemu.run('read 0 4096'), /4096\/4096/)
    exported.process.kill('SIGKILL')
    await once(exported.process, 'exit')
    const reading = qemu.run('read 20M 1M')
    await using _again = await atSocket('again.sock')
    assert.match(await reading, /1048576\/1048576/)
  })

  /** Takes every block out of the store. @returns what puts them back */
  async function takeBlocks(): Promise<() => Promise<void>> {
    const place = (await libraryPlaceAt(daemon.data)).store
    await using store = await openStore(place)
    const { removed, ...blocks } = store.blocks
    const taken = new Map<string, Uint8Array>()
    for await (const { digest } of blocks.list()) taken.set(digest, await blocks.get(digest))
    assert.ok(taken.size > 0)
    const next = (await store.generation()) + 1
    for (const digest of taken.keys()) assert.ok(await blocks.remove(digest, next))
    for await (const file of removed?.list() ?? []) await removed?.purge(file)
    return async () => {
      await using store = await openStore(place)
      for (const [digest, bytes] of taken) await store.blocks.put(digest, bytes)
      await store.sync()
    }
  }

  test('a block that is gone is an error of that read, until it is back', async () => {
    await using exported = await atSocket('damaged.sock')
    await using qemu = startQemuIo(join(folder, 'damaged.sock'))
    const putBack = await takeBlocks()
    assert.match(await qemu.run('read 30M 1M'), /read failed: Input\/output error/)
    await putBack()
    assert.match(await qemu.run('read 30M 1M'), /1048576\/1048576/)
    assert.equal(exported.process.exitCode, null)
  })

  test('an image that is destroyed and collected meanwhile stays readable to the end', async () => {
    const { id } = await register(daemon, files.url('disk'), { name: 'again' })
    await settled(daemon, id)
    const child = spawn(IMAGE_LIBRARY, ['export', id, ...(await libraryAt(daemon.data))], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [uri] = await once(createInterface(child.stdout), 'line')
    for (const one of [id, image.id]) await daemon.api('DELETE', `/1.0/images/${one}`)
    await execute(IMAGE_LIBRARY, ['collect', ...(await libraryAt(daemon.data))])
    const copy = join(folder, 'late')
    await execute('nbdcopy', [String(uri), copy])
    await execute('cmp', [raw, copy])
    const rest = text(child.stdout)
    child.kill('SIGINT')
    assert.deepEqual(await once(child, 'exit'), [0, null])
    assert.equal(await rest, '')
  })
})
