import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { libraryAt } from '../support/library-place.ts'
import { download, execute, type ImageJson, settled, sha256Of } from '../support/registration.ts'

const MiB = 2 ** 20
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

type Uploaded = ImageJson & {
  readonly progress: { readonly bytes_done: number } | null
  readonly source_info: { readonly notes: readonly string[] } | null
}

async function begin(daemon: Daemon, more: object = {}): Promise<string> {
  const { status, body } = await daemon.api<ImageJson>('POST', '/1.0/images', {
    arch: 'x86_64',
    upload: true,
    ...more,
  })
  assert.equal(status, 201, JSON.stringify(body))
  return body.id
}

/** Begins to send a part, of which more may be written. */
function open(daemon: Daemon, id: string, [first, total]: readonly [number, number]) {
  const sending = request(`${daemon.url}/1.0/images/${id}/upload`, {
    method: 'PUT',
    headers: {
      authorization: `Bearer ${daemon.token}`,
      'content-range': `bytes ${first}-${total - 1}/${total}`,
      'content-length': total - first,
    },
  })
  sending.on('error', () => {})
  return sending
}

async function send(daemon: Daemon, id: string, bytes: Uint8Array, first: number): Promise<number> {
  const sending = open(daemon, id, [first, bytes.length])
  sending.end(bytes.subarray(first))
  const [answer] = await once(sending, 'response')
  answer.resume()
  return answer.statusCode
}

async function offsetOf(daemon: Daemon, id: string): Promise<number> {
  const { status, body } = await daemon.api<{ offset: number }>('GET', `/1.0/images/${id}/upload`)
  assert.equal(status, 200)
  return body.offset
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20))
}

describe('uploads', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'uploads-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  test('one whose library is killed goes on where it was last written down', async () => {
    const data = await mkdtemp(join(folder, 'killed-'))
    const bytes = Buffer.alloc(80 * MiB)
    for (let at = 0; at < bytes.length; at += 3 * MiB) randomBytes(MiB).copy(bytes, at)
    let id: string
    {
      await using daemon = await startDaemon({ data })
      id = await begin(daemon)
      const sending = open(daemon, id, [0, bytes.length])
      sending.write(bytes.subarray(0, 70 * MiB))
      const received = async () =>
        (await daemon.api<Uploaded>('GET', `/1.0/images/${id}`)).body.progress?.bytes_done ?? 0
      await until(async () => (await received()) === 70 * MiB)
      daemon.process.kill('SIGKILL')
      await once(daemon.process, 'exit')
      sending.destroy()
    }
    await using daemon = await startDaemon({ data })
    const offset = await offsetOf(daemon, id)
    assert.ok(offset >= 64 * MiB && offset <= 70 * MiB, `${offset}`)
    assert.equal(await send(daemon, id, bytes, 0), 409)
    assert.equal(await send(daemon, id, bytes, offset), 202)
    const image = (await settled(daemon, id)) as Uploaded
    assert.equal(image.status, 'available', daemon.output())
    assert.match(image.source_info?.notes.join() ?? '', /uploaded became the image as it is/)
    assert.equal(await sha256Of(await download(daemon, id, 'raw')), sha256(bytes))
    assert.equal(existsSync(join(data, 'uploads')), false)
    await execute('bin/image-library', ['check', ...(await libraryAt(data))])
  })

  test('what came before a client went away is there, also after a restart', async () => {
    const data = await mkdtemp(join(folder, 'gone-'))
    const bytes = randomBytes(3 * MiB + 512)
    let id: string
    {
      await using daemon = await startDaemon({ data })
      id = await begin(daemon)
      const sending = open(daemon, id, [0, bytes.length])
      sending.write(bytes.subarray(0, 2 * MiB + 77))
      await until(async () => {
        const { body } = await daemon.api<Uploaded>('GET', `/1.0/images/${id}`)
        return body.progress?.bytes_done === 2 * MiB + 77
      })
      sending.destroy()
      await until(async () => (await offsetOf(daemon, id)) === 2 * MiB + 77)
    }
    await using daemon = await startDaemon({ data })
    assert.equal(await send(daemon, id, bytes, 2 * MiB + 77), 202)
    assert.equal((await settled(daemon, id)).status, 'available', daemon.output())
    assert.equal(await sha256Of(await download(daemon, id, 'raw')), sha256(bytes))
  })

  test('a checksum that is demanded is compared, whatever came; small ones and compressed ones are read', async () => {
    await using daemon = await startDaemon()
    const raw = Buffer.concat([randomBytes(MiB + 700), Buffer.alloc(2 * MiB)])
    const small = randomBytes(1024)
    const padded = Buffer.concat([raw, Buffer.alloc(-raw.length & 511)])
    const cases = [
      [raw, padded],
      [gzipSync(raw), padded],
      [small, small],
    ] as const
    for (const [bytes, disk] of cases) {
      const id = await begin(daemon, { checksum: `sha256:${sha256(bytes)}` })
      assert.equal(await send(daemon, id, bytes, 0), 202)
      const image = await settled(daemon, id)
      assert.deepEqual(
        [image.status, image.source_info?.sha256],
        ['available', sha256(bytes)],
        daemon.output(),
      )
      assert.equal(await sha256Of(await download(daemon, id, 'raw')), sha256(disk))
    }
    const wrong = await begin(daemon, { checksum: `sha256:${'0'.repeat(64)}` })
    assert.equal(await send(daemon, wrong, raw, 0), 202)
    assert.equal((await settled(daemon, wrong)).failure?.code, 'checksum')
  })
})
