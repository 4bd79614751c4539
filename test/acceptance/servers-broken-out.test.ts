import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdtemp, readdir, readFile, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { bootableImage, IMAGE_TOOLS } from '../support/bootable-image.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import { endMachines } from '../support/machines.ts'
import { execute, register, settled } from '../support/registration.ts'
import {
  buildServer,
  destroyServer,
  guestOf,
  machineOf,
  serverIs,
  serverSettings,
  showServer,
  standsAlone,
} from '../support/servers.ts'
import { needs } from '../support/tools.ts'

const FIRST_UID = 950_000
const SCRIPT = join(import.meta.dirname, '..', 'support', 'broken-out.py')
const NEEDS =
  process.getuid?.() === 0
    ? needs('qemu-system-x86_64', 'python3', ...IMAGE_TOOLS)
    : { skip: 'needs root, to run servers as other users' }

describe('a guest that took over its QEMU', NEEDS, () => {
  let data: string
  let daemon: Daemon
  let files: FileServer
  let image: string
  let neighbour: string
  const begin = () =>
    startDaemon({ data, settings: serverSettings({ 'servers.first_uid': String(FIRST_UID) }) })
  before(async () => {
    data = await mkdtemp(join(tmpdir(), 'broken-out-'))
    files = await startFileServer(dirname(bootableImage('virtio')))
    daemon = await begin()
    image = (await register(daemon, files.url(basename(bootableImage('virtio'))))).id
    assert.equal((await settled(daemon, image)).status, 'available')
    neighbour = (await buildServer(daemon, image)).id
    await standsAlone(daemon, neighbour)
  })
  after(async () => {
    await daemon?.[Symbol.asyncDispose]()
    await files?.[Symbol.asyncDispose]()
    if (data) await endMachines(data)
    if (data) await execute('rm', ['-rf', data])
  })

  /** What must stay as it is, whatever a guest does: the files of others, with their owners, and the base's bytes. */
  async function others(): Promise<unknown> {
    const servers = join(data, 'servers')
    const [digest = ''] = await readdir(join(servers, 'bases'))
    const base = join(servers, 'bases', digest)
    const hash = createHash('sha256')
    await pipeline(createReadStream(base), hash)
    const paths = [
      base,
      join(servers, neighbour, 'layer-0.qcow2'),
      join(data, 'catalog.sqlite'),
      servers,
      data,
    ]
    const stats = await Promise.all(paths.map((path) => stat(path)))
    return [hash.digest('hex'), ...stats.map(({ uid, mode }) => `${uid} ${mode.toString(8)}`)]
  }

  /** Acts in a server's folder as its user until disposed of, and begins again when it is ended. */
  async function attack(id: string, way: string, victim: string) {
    const { folder } = await machineOf(daemon, id)
    const { uid } = await stat(folder)
    const script = await readFile(SCRIPT, 'utf8')
    let isOver = false
    let ends = 0
    const start = () => {
      const child = spawn('python3', ['-c', script, way, victim], { cwd: folder, uid, gid: uid })
      child.stderr.resume()
      child.on('error', () => {})
      child.on('exit', () => {
        ends++
        if (!isOver) setTimeout(() => (current = start()), 20)
      })
      return child
    }
    let current = start()
    return {
      uid,
      ready: () => once(current.stdout, 'data'),
      ends: () => ends,
      [Symbol.dispose]() {
        isOver = true
        current.kill('SIGKILL')
      },
    }
  }

  const ask = async (id: string, action: string) =>
    (await daemon.api<{ errors?: string[] }>('POST', `/1.0/servers/${id}/${action}`)).status

  async function processesOf(uid: number): Promise<string[]> {
    const found: string[] = []
    for (const name of await readdir('/proc')) {
      const text = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '')
      if (new RegExp(`^Uid:\t${uid}\t`, 'm').test(text) && !/^State:\tZ/m.test(text)) found.push(name)
    }
    return found
  }

  /** The rest of the library goes on, the server can be destroyed, and then nothing of it is left. */
  async function assertHarmless(id: string, before: unknown): Promise<void> {
    assert.deepEqual(await others(), before)
    using guest = await guestOf(daemon, neighbour)
    assert.match(await guest.run('echo here'), /here/)
    await destroyServer(daemon, id)
    assert.deepEqual(
      (await readdir(join(data, 'servers'))).filter((name) => name.startsWith(id)),
      [],
    )
    assert.deepEqual(await others(), before)
    assert.doesNotMatch(daemon.output(), /unhandled|uncaught|TypeError/i)
  }

  for (const way of ['replace', 'logs', 'obstacles']) {
    test(`owns nothing of others, and does not stay: ${way}`, { timeout: 240_000 }, async () => {
      const { id } = await buildServer(daemon, image)
      await standsAlone(daemon, id)
      const before = await others()
      let uid: number
      {
        using attacker = await attack(id, way, join(data, 'catalog.sqlite'))
        uid = attacker.uid
        const statuses: number[] = []
        for (const action of ['snapshot', 'snapshot', 'stop', 'snapshot', 'start', 'snapshot']) {
          statuses.push(await ask(id, action))
          await delay(1000)
        }
        assert.ok(
          statuses.every((status) => status < 500 || status === 503),
          statuses.join(),
        )
        assert.ok(attacker.ends() > 0, 'it was ended with its QEMU')
        await daemon.api('DELETE', `/1.0/servers/${id}`)
        await delay(500)
      }
      await assertHarmless(id, before)
      assert.deepEqual(await processesOf(uid), [])
    })
  }

  test('is not believed what it says of its disk, and nobody waits for it', {
    timeout: 240_000,
  }, async () => {
    const { id } = await buildServer(daemon, image)
    await standsAlone(daemon, id)
    const before = await others()
    daemon.process.kill('SIGKILL')
    await once(daemon.process, 'exit')
    using attacker = await attack(id, 'monitor', `../${neighbour}/layer-0.qcow2`)
    await attacker.ready()
    daemon = await begin()
    await serverIs(daemon, neighbour, 'active')
    const from = performance.now()
    assert.ok((await ask(id, 'snapshot')) >= 400)
    const { trouble } = await showServer(daemon, id)
    assert.ok(performance.now() - from < 100_000)
    assert.doesNotMatch(JSON.stringify(trouble ?? ''), /10000/)
    const answered = performance.now()
    await showServer(daemon, neighbour)
    assert.ok(performance.now() - answered < 1000, 'others are answered')
    await assertHarmless(id, before)
  })
})
