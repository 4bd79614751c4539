import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { statfsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { startFileServer } from '../support/file-server.ts'
import { createRandom } from '../support/random-disk.ts'
import { download, execute, type ImageJson, register, settled, sha256Of } from '../support/registration.ts'
import { mountSmallDisk } from '../support/small-disk.ts'

const folder = await mkdtemp(join(tmpdir(), 'full-disk-'))
const disk = join(folder, 'disk')
// Elsewhere the tests of the store's reserve have to do.
const mounted = mountSmallDisk(disk, 24)
after(async () => {
  if (mounted) execFileSync('umount', [disk])
  await rm(folder, { recursive: true, force: true })
})

/** Waits until an attempt has ended, one way or the other. */
async function triedOnce(daemon: Daemon, id: string): Promise<void> {
  for (;;) {
    const { body } = await daemon.api<ImageJson & { progress: { attempt: number } }>(
      'GET',
      `/1.0/images/${id}`,
    )
    if (body.status !== 'creating' || body.progress.attempt > 1) return
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
}

test('full disk: wherever it fills up, what was under way is right once there is room', async (t) => {
  if (!mounted) return t.diagnostic('needs root, to mount a small disk')
  const seed = Number(process.env.SEED ?? randomInt(2 ** 31))
  const random = createRandom(seed)
  t.diagnostic(`SEED=${seed}`)
  const resize = (mib: number) => execFileSync('mount', ['-o', `remount,size=${Math.ceil(mib)}m`, disk])
  const usedMib = () => {
    const { blocks, bfree, bsize } = statfsSync(disk)
    return ((blocks - bfree) * bsize) / 2 ** 20
  }
  const raw = randomBytes(9 * 2 ** 20)
  await writeFile(join(folder, 'disk.img'), raw)
  await writeFile(join(folder, 'disk.img.gz'), gzipSync(raw))
  const sha256 = createHash('sha256').update(raw).digest('hex')
  await using files = await startFileServer(folder)
  resize(64)
  await using daemon = await startDaemon({ data: join(disk, 'data') })
  const collected = () => execute('bin/image-library', ['collect', '--data', join(disk, 'data')])

  const upload = async () => {
    const { body } = await daemon.api<ImageJson>('POST', '/1.0/images', { arch: 'x86_64', upload: true })
    const headers = { authorization: `Bearer ${daemon.token}`, 'content-type': 'application/octet-stream' }
    const url = `${daemon.url}/1.0/images/${body.id}/upload`
    // Refused while the client still sends, the answer may be lost with the connection.
    const answer = await fetch(url, { method: 'PUT', headers, body: raw }).catch(() => undefined)
    if (answer?.ok) return body.id
    if (answer) assert.ok([503, 507].includes(answer.status), `an upload is refused with ${answer.status}`)
    await daemon.api('DELETE', `/1.0/images/${body.id}`)
    return undefined
  }
  const ways = [
    async () => (await register(daemon, files.url('disk.img'))).id,
    async () => (await register(daemon, files.url('disk.img.gz'))).id,
    upload,
  ]
  for (const round of [1, 2]) {
    await collected()
    resize(usedMib() + 4 + random() * (round === 1 ? 6 : 22))
    const ids = await Promise.all(ways.map((way) => way()))
    const images = ids.filter((id) => id !== undefined)
    await Promise.all(images.map((id) => triedOnce(daemon, id)))
    resize(64)
    for (const id of images) {
      assert.equal((await settled(daemon, id)).status, 'available', daemon.output())
      assert.equal(await sha256Of(await download(daemon, id, 'raw')), sha256)
      await daemon.api('DELETE', `/1.0/images/${id}`)
    }
  }
  const image = await settled(daemon, (await register(daemon, files.url('disk.img'))).id)
  assert.equal(image.status, 'available', daemon.output())
  assert.doesNotMatch(daemon.output(), /cannot rollback/)
})
