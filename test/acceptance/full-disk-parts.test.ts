import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { startFileServer } from '../support/file-server.ts'
import { firstUser, type OrbitUser } from '../support/orbit.ts'
import { download, register, settled, sha256Of } from '../support/registration.ts'
import { mountSmallDisk } from '../support/small-disk.ts'
import { needs } from '../support/tools.ts'

const MiB = 2 ** 20
const folder = await mkdtemp(join(tmpdir(), 'full-disk-parts-'))
const mounts: string[] = []
after(async () => {
  for (const path of mounts.reverse()) execFileSync('umount', ['-l', path])
  await rm(folder, { recursive: true, force: true })
})

/** A disk of its own, which can become larger. */
function mount(path: string, mib: number) {
  if (!mountSmallDisk(path, mib)) return undefined
  mounts.push(path)
  return (size: number) => execFileSync('mount', ['-o', `remount,size=${size}m`, path])
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** Puts objects until one does not fit. @returns those that were taken */
async function fill(owner: OrbitUser, size: number): Promise<Map<string, Buffer>> {
  const taken = new Map<string, Buffer>()
  const headers = { 'x-auth-token': owner.token }
  for (let index = 0; ; index++) {
    const body = randomBytes(size)
    const name = `o${index}`
    // Refused while the client still sends, the answer may be lost with the connection.
    const put = fetch(`${owner.storage}/c/${name}`, { method: 'PUT', headers, body })
    const answer = await put.catch(() => undefined)
    if (answer?.status === 201) taken.set(name, body)
    else {
      assert.ok(answer === undefined || [503, 507].includes(answer.status), `${answer?.status}`)
      return taken
    }
  }
}

async function assertThere(owner: OrbitUser, objects: ReadonlyMap<string, Buffer>): Promise<void> {
  const headers = { 'x-auth-token': owner.token }
  const listed = (await (await fetch(`${owner.storage}/c`, { headers })).text()).split('\n').filter(Boolean)
  assert.deepEqual(new Set(listed), new Set(objects.keys()))
  for (const [name, bytes] of objects) {
    const answer = await fetch(`${owner.storage}/c/${name}`, { headers })
    assert.equal(sha256(Buffer.from(await answer.arrayBuffer())), sha256(bytes), name)
  }
}

async function makeContainer(daemon: Daemon): Promise<OrbitUser> {
  const owner = await firstUser(daemon)
  const headers = { 'x-auth-token': owner.token }
  assert.ok((await fetch(`${owner.storage}/c`, { method: 'PUT', headers })).ok)
  return owner
}

test('full disk: objects alone fill it; what was taken is there, and more can be once there is room', async (t) => {
  const disk = join(folder, 'objects')
  const resize = mount(disk, 40)
  if (!resize) return t.diagnostic('needs root, to mount a small disk')
  await using daemon = await startDaemon({ data: join(disk, 'data') })
  const owner = await makeContainer(daemon)
  const objects = await fill(owner, 3 * MiB)
  assert.ok(objects.size > 4, `${objects.size} objects`)
  await assertThere(owner, objects)
  const headers = { 'x-auth-token': owner.token }
  const [gone] = objects.keys()
  assert.equal((await fetch(`${owner.storage}/c/${gone}`, { method: 'DELETE', headers })).status, 204)
  objects.delete(gone ?? '')
  resize(64)
  const body = randomBytes(3 * MiB)
  assert.equal((await fetch(`${owner.storage}/c/again`, { method: 'PUT', headers, body })).status, 201)
  await assertThere(owner, objects.set('again', body))
  assert.doesNotMatch(daemon.output(), /cannot rollback/)
})

test(
  'full disk: where only the spool is full, a qcow2 fails by name and succeeds once there is room',
  needs('qemu-img'),
  async (t) => {
    const data = join(folder, 'spooled')
    const raw = randomBytes(12 * MiB)
    await writeFile(join(folder, 'disk.img'), raw)
    execFileSync('qemu-img', ['convert', '-O', 'qcow2', join(folder, 'disk.img'), join(folder, 'disk.qcow2')])
    await using files = await startFileServer(folder)
    await using daemon = await startDaemon({ data })
    rmSync(join(data, 'spool'), { recursive: true })
    const resize = mount(join(data, 'spool'), 4)
    if (!resize) return t.diagnostic('needs root, to mount a small disk')
    const image = await register(daemon, files.url('disk.qcow2'))
    for (;;) {
      const { body } = await daemon.api<{ progress: { message: string | null } }>(
        'GET',
        `/1.0/images/${image.id}`,
      )
      if (/full|space/.test(body.progress.message ?? '')) break
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const other = await settled(daemon, (await register(daemon, files.url('disk.img'))).id)
    assert.equal(other.status, 'available', 'what needs no spool goes on')
    resize(64)
    assert.equal((await settled(daemon, image.id)).status, 'available', daemon.output())
    assert.equal(await sha256Of(await download(daemon, image.id, 'raw')), sha256(raw))
    assert.equal(
      statfsSync(join(data, 'spool')).bfree,
      statfsSync(join(data, 'spool')).blocks,
      'nothing is left',
    )
  },
)

test('full disk: where only the catalog is full, changes are refused, and nothing is half done', async (t) => {
  const disk = join(folder, 'catalog')
  const resize = mount(disk, 8)
  if (!resize) return t.diagnostic('needs root, to mount a small disk')
  const data = join(disk, 'data')
  mkdirSync(data, { mode: 0o700 })
  assert.ok(mount(join(data, 'store'), 64))
  await using daemon = await startDaemon({ data, settings: { 'store.reserve': '0' } })
  const owner = await makeContainer(daemon)
  // Small ones stand in the catalog.
  const objects = await fill(owner, 16_000)
  const filler = join(disk, 'filler')
  const { bavail, bsize } = statfsSync(disk)
  writeFileSync(filler, Buffer.alloc(bavail * bsize))
  await assertThere(owner, objects)
  const headers = { 'x-auth-token': owner.token }
  const upload = await daemon.api('POST', '/1.0/images', { arch: 'x86_64', upload: true })
  assert.equal(upload.status, 503, JSON.stringify(upload.body))
  rmSync(filler)
  resize(32)
  const [first] = objects.keys()
  assert.ok(first)
  assert.equal((await fetch(`${owner.storage}/c/${first}`, { method: 'DELETE', headers })).status, 204)
  objects.delete(first)
  await assertThere(owner, objects)
  assert.equal((await daemon.api('POST', '/1.0/images', { arch: 'x86_64', upload: true })).status, 201)
  assert.doesNotMatch(daemon.output(), /cannot rollback/)
})
