import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, open, readdir, rename, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { bootableImage, IMAGE_TOOLS, LAYOUT, patternSum } from '../support/bootable-image.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import { libraryAt } from '../support/library-place.ts'
import { endMachines, machinesOf } from '../support/machines.ts'
import { createRandom } from '../support/random-disk.ts'
import { downloadTo, execute, type ImageJson, register, settled } from '../support/registration.ts'
import {
  act,
  assertServersVanish,
  buildServer,
  destroyServer,
  guestOf,
  machineOf,
  type ServerJson,
  serverIs,
  serverSettings,
  showServer,
  snapshot,
  standsAlone,
} from '../support/servers.ts'
import { mountSmallDisk } from '../support/small-disk.ts'
import { needs } from '../support/tools.ts'

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 4)
const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31))
/** Bytes of data per second: the image's take minutes, so that no test is too late to see a disk being filled. */
const SLOW = { 'servers.fill_rate': '128 KiB' }
/** These take a quarter of a minute. */
const FILLING = { 'servers.fill_rate': '3 MiB' }
const DATA = `sum ${LAYOUT.data} ${LAYOUT.dataSize}`

describe('servers and faults', needs('qemu-system-x86_64', 'find', ...IMAGE_TOOLS), () => {
  let folder: string
  let files: FileServer
  let dataSum: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'faults-'))
    files = await startFileServer(dirname(bootableImage('virtio')))
    dataSum = await sumOf(bootableImage('virtio'), LAYOUT.data, LAYOUT.dataSize)
  })
  after(async () => {
    await files?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** A library with an image. */
  async function begin(settings: Readonly<Record<string, string>> = {}, data?: string) {
    const more = data === undefined ? {} : { data }
    const daemon = await startDaemon({ ...more, settings: serverSettings(settings) })
    const { id } = await register(daemon, files.url(basename(bootableImage('virtio'))))
    assert.equal((await settled(daemon, id)).status, 'available')
    return { daemon, image: id }
  }

  /** A data folder that outlives its daemons; what still runs in it is ended with the test. */
  async function lastingFolder() {
    const data = await mkdtemp(join(folder, 'd-'))
    return { data, [Symbol.asyncDispose]: () => endMachines(data) }
  }

  async function end(daemon: Daemon, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    daemon.process.kill(signal)
    await once(daemon.process, 'exit')
  }

  test('a QEMU that is killed: the server is inactive and says why, and starts again with its data', async () => {
    const { daemon, image } = await begin()
    await using _ = daemon
    const { id } = await buildServer(daemon, image)
    await serverIs(daemon, id, 'active')
    {
      using guest = await guestOf(daemon, id)
      await guest.run(`write ${LAYOUT.free} 2 kept`)
    }
    process.kill((await machineOf(daemon, id)).pid, 'SIGKILL')
    await serverIs(daemon, id, 'inactive')
    const { body: events } = await daemon.api<{ action: string; resource?: { id: string } }[]>(
      'GET',
      '/1.0/events',
    )
    assert.ok(
      events.some(({ action }) => action === 'server.died'),
      JSON.stringify(events.slice(-5)),
    )
    await act(daemon, id, 'start')
    await serverIs(daemon, id, 'active')
    using guest = await guestOf(daemon, id)
    assert.equal(await guest.run(`sum ${LAYOUT.free} 2`), patternSum(LAYOUT.free, 2, 'kept'))
    await assertServersVanish(daemon, { servers: [id], images: [image] })
  })

  test('an image that is destroyed and collected: its servers still read all of it', async () => {
    await using lasting = await lastingFolder()
    const { data } = lasting
    const first = await begin(SLOW, data)
    const { id } = await buildServer(first.daemon, first.image)
    await serverIs(first.daemon, id, 'active')
    const collect = async ({ settings }: Daemon) =>
      execute('bin/image-library', ['collect', ...(await libraryAt(data)), '--config', settings])
    {
      const { daemon, image } = first
      using guest = await guestOf(daemon, id)
      assert.equal((await daemon.api('DELETE', `/1.0/images/${image}`)).status, 202)
      while ((await daemon.api('GET', `/1.0/images/${image}`)).status !== 404) await delay(20)
      await collect(daemon)
      assert.equal(await guest.run(DATA), dataSum)
      assert.ok(!(await showServer(daemon, id)).volumes[0]?.fill.stands_alone, 'it is not filled yet')
    }
    await end(first.daemon, 'SIGKILL')
    await using daemon = await startDaemon({ data, settings: serverSettings() })
    await standsAlone(daemon, id)
    await collect(daemon)
    using guest = await guestOf(daemon, id)
    assert.equal(await guest.run(DATA), dataSum, 'from its own copy')
    await assertServersVanish(daemon, { servers: [id], images: [] })
  })

  test('a store that cannot be read for a while: the guest waits, and goes on afterwards', async () => {
    await using lasting = await lastingFolder()
    const { data } = lasting
    const first = await begin(SLOW, data)
    const { id } = await buildServer(first.daemon, first.image)
    await serverIs(first.daemon, id, 'active')
    {
      using guest = await guestOf(first.daemon, id)
      const blocks = join(data, 'store/blocks')
      await rename(blocks, `${blocks}.away`)
      const sum = guest.run(DATA, 120_000)
      await serverIs(first.daemon, id, ({ trouble }) => trouble !== null)
      assert.equal((await showServer(first.daemon, id)).status, 'active')
      await rename(`${blocks}.away`, blocks)
      assert.equal(await sum, dataSum)
      await serverIs(first.daemon, id, ({ trouble }) => trouble === null)
    }
    await end(first.daemon, 'SIGTERM')
    await using daemon = await startDaemon({ data, settings: serverSettings() })
    await standsAlone(daemon, id)
    using guest = await guestOf(daemon, id)
    assert.equal(await guest.run(DATA), dataSum)
    await assertServersVanish(daemon, { servers: [id], images: [first.image] })
  })

  test('a daemon that is away during the fill: the guest goes on reading when it is back', async () => {
    await using lasting = await lastingFolder()
    const { data } = lasting
    const first = await begin(SLOW, data)
    const { id } = await buildServer(first.daemon, first.image)
    await serverIs(first.daemon, id, 'active')
    const { pid } = await machineOf(first.daemon, id)
    {
      using guest = await guestOf(first.daemon, id)
      await guest.run(`(${DATA} >/answer) >/dev/null 2>&1 &`)
    }
    await end(first.daemon, 'SIGTERM')
    // Longer than QEMU waits for a lost connection before it tells the guest's device of an error.
    await delay(12_000)
    await using daemon = await startDaemon({ data, settings: serverSettings() })
    assert.equal((await machineOf(daemon, id)).pid, pid, 'the same QEMU')
    assert.equal((await serverIs(daemon, id, 'active')).status, 'active')
    using guest = await guestOf(daemon, id)
    assert.equal(await guest.run('until [ -s /answer ]; do sleep 0.2; done; cat /answer', 60_000), dataSum)
    await standsAlone(daemon, id)
    assert.equal(await guest.run(DATA), dataSum)
    await assertServersVanish(daemon, { servers: [id], images: [first.image] })
  })

  test('a daemon that is killed at any moment: no state lies, nothing is lost, nothing is left', async (t) => {
    t.diagnostic(`seed ${seed}`)
    const random = createRandom(seed)
    await using lasting = await lastingFolder()
    const { data } = lasting
    const first = await begin(FILLING, data)
    const { id: lastingId } = await buildServer(first.daemon, first.image)
    await serverIs(first.daemon, lastingId, 'active')
    const { pid } = await machineOf(first.daemon, lastingId)
    {
      using guest = await guestOf(first.daemon, lastingId)
      await guest.run(`write ${LAYOUT.free} 3 kept`)
    }
    await end(first.daemon, 'SIGKILL')
    const images: string[] = []
    const servers: string[] = []
    const steps = [
      async (daemon: Daemon) => void servers.push((await buildServer(daemon, first.image)).id),
      async (daemon: Daemon) => void images.push(await snapshot(daemon, lastingId)),
      async (daemon: Daemon) => void (await daemon.api('DELETE', `/1.0/servers/${servers.at(-1)}`)),
      async (daemon: Daemon) => void images.push(await snapshot(daemon, lastingId)),
    ]
    for (let round = 0; round < ROUNDS; round++) {
      await using daemon = await startDaemon({ data, settings: serverSettings(FILLING) })
      assert.equal((await machineOf(daemon, lastingId)).pid, pid, `seed ${seed}: the guest has run on`)
      // Right after a start it may still be looked for; an answer that says so is no lie.
      await serverIs(daemon, lastingId, 'active')
      await steps[round % steps.length]!(daemon)
      await delay(random() * 900)
      await end(daemon, 'SIGKILL')
    }
    await using daemon = await startDaemon({ data, settings: serverSettings() })
    for (const id of [lastingId, ...servers]) {
      const isSettled = ({ status }: ServerJson) => ['active', 'inactive', 'deleted'].includes(status)
      const { status } = await serverIs(daemon, id, isSettled)
      const running = (await machinesOf(data)).filter((machine) => basename(machine.folder) === id)
      assert.equal(running.length, status === 'active' ? 1 : 0, `seed ${seed}: ${id} is ${status}`)
    }
    const { body: listed } = await daemon.api<ImageJson[]>('GET', '/1.0/images')
    for (const { id } of listed.filter(({ id }) => id !== first.image)) {
      assert.equal((await settled(daemon, id)).status, 'available', `seed ${seed}`)
      assert.ok(images.includes(id), `seed ${seed}: nobody asked for ${id}`)
      await downloadTo(daemon, id, 'raw', join(folder, 'snapshot'))
      const sum = await sumOf(join(folder, 'snapshot'), LAYOUT.free, 3)
      assert.equal(sum, patternSum(LAYOUT.free, 3, 'kept'), `seed ${seed}`)
    }
    for (const id of images)
      assert.ok(
        listed.some((image) => image.id === id),
        `seed ${seed}: ${id} is gone`,
      )
    using guest = await guestOf(daemon, lastingId)
    assert.equal(await guest.run(`sum ${LAYOUT.free} 3`), patternSum(LAYOUT.free, 3, 'kept'))
    await assertServersVanish(daemon, { servers: [lastingId, ...servers], images: [first.image, ...images] })
  })

  test('a disk that is full: a snapshot fails with the reason, guests wait and then go on', async (t) => {
    const disk = join(folder, 'small')
    if (!mountSmallDisk(disk, 280)) return t.diagnostic('needs root, to mount a small disk')
    try {
      await fullDisk(disk)
    } finally {
      await endMachines(join(disk, 'data'))
      execFileSync('umount', [disk])
    }
  })

  async function fullDisk(disk: string): Promise<void> {
    const data = join(disk, 'data')
    const { daemon, image } = await begin({ 'store.reserve': '1 MiB' }, data)
    await using _ = daemon
    const { id } = await buildServer(daemon, image)
    await standsAlone(daemon, id)
    using guest = await guestOf(daemon, id)
    const noise = (mib: number, count: number) =>
      guest.run(`dd if=/dev/urandom of=$D bs=1M seek=${mib} count=${count} conv=fsync,notrunc`, 120_000)
    await noise(LAYOUT.free, 40)
    const filler = join(disk, 'filler')
    await fill(filler, disk, 12)
    const failed = await settled(daemon, await snapshot(daemon, id))
    assert.deepEqual(
      [failed.status, failed.failure?.code],
      ['failed', 'storage'],
      daemon.output().slice(-4000),
    )
    assert.equal(await guest.run('echo still here'), 'still here')
    // More than there is room for: the guest is held, and no error reaches it. No record can be written of that.
    const written = guest.run(`write ${LAYOUT.data} 24 over`, 120_000)
    while ((await roomOf(disk)) > 256 * 1024) await delay(50)
    // Long enough for the library to see it and to fail to say so.
    await delay(3500)
    assert.equal((await showServer(daemon, id)).status, 'active')
    await rm(filler)
    await written
    await serverIs(daemon, id, ({ trouble }) => trouble === null)
    assert.equal(await guest.run(`sum ${LAYOUT.data} 24`), patternSum(LAYOUT.data, 24, 'over'))
    const image2 = await settled(daemon, await snapshot(daemon, id))
    assert.equal(image2.status, 'available', JSON.stringify(image2))
    await destroyServer(daemon, id)
    assert.ok(!(await readdir(join(data, 'servers'))).includes(id))
  }
})

/** The MD5 of COUNT MiB from the MiB OFFSET on. */
async function sumOf(path: string, offset: number, count: number): Promise<string> {
  await using file = await open(path)
  const sum = createHash('md5')
  const bytes = Buffer.alloc(1 << 20)
  for (let mib = offset; mib < offset + count; mib++) {
    const { bytesRead } = await file.read(bytes, 0, bytes.length, mib * bytes.length)
    sum.update(bytes.subarray(0, bytesRead))
  }
  return sum.digest('hex')
}

/** Takes all room of a disk but so many MiB. */
async function fill(path: string, disk: string, left: number): Promise<void> {
  await execute('fallocate', ['-l', String((await roomOf(disk)) - left * (1 << 20)), path])
}

/** Bytes that are free on a disk. */
async function roomOf(disk: string): Promise<number> {
  const { bavail, bsize } = await statfs(disk)
  return bavail * bsize
}
