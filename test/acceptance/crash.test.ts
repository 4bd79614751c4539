import assert from 'node:assert/strict'
import { createHash, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startDaemon } from '../support/daemon.ts'
import { libraryAt, listStored } from '../support/library-place.ts'
import { createRandom, randomDisk } from '../support/random-disk.ts'
import { download, execute, register, settled, sha256Of } from '../support/registration.ts'
import { needs } from '../support/tools.ts'

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 5)
const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31))

/** Serves one file at a limited rate, so that a registration lasts long enough to be interrupted. */
async function startSlowServer(path: string, bytesPerSecond: number) {
  async function* throttled() {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 18 })) {
      yield chunk
      await delay((1000 * chunk.length) / bytesPerSecond)
    }
  }
  // A client that is killed is what this is about.
  const server = createServer((_request, response) => void pipeline(throttled, response).catch(() => {}))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return { server, url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/disk` }
}

describe('crash', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'crash-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  for (const format of ['raw', 'qcow2'] as const) {
    const tools = format === 'raw' ? needs('find') : needs('find', 'qemu-img')
    test(`a registration (${format}) killed at any moment is right after a restart`, tools, async (t) => {
      t.diagnostic(`seed ${seed}`)
      const random = createRandom(seed)
      const raw = join(folder, 'disk.raw')
      const sha256 = await randomDisk(raw, { size: 40 << 20, random })
      const source = join(folder, `disk.${format}`)
      if (format === 'qcow2')
        await execute('qemu-img', ['convert', '-c', '-f', 'raw', '-O', 'qcow2', raw, source])
      const { server, url } = await startSlowServer(source, 40 << 20)
      const data = await mkdtemp(join(folder, 'data-'))
      const ids: string[] = []
      try {
        for (let round = 0; round < ROUNDS; round++) {
          await using daemon = await startDaemon({ data })
          if (round % 3 === 0) ids.push((await register(daemon, url)).id)
          await delay(random() * 1200)
          daemon.process.kill('SIGKILL')
          await once(daemon.process, 'exit')
        }
        await using daemon = await startDaemon({ data })
        for (const id of ids) {
          const image = await settled(daemon, id)
          assert.equal(image.status, 'available', `seed ${seed}: ${JSON.stringify(image)}`)
          assert.equal(await sha256Of(await download(daemon, id, 'raw')), sha256, `seed ${seed}`)
        }
        const operator = async (...words: string[]) =>
          execute('bin/image-library', [...words, ...(await libraryAt(data))])
        await operator('check')
        for (const id of ids) {
          const { status } = await daemon.api('DELETE', `/1.0/images/${id}`)
          assert.equal(status, 202)
          while ((await daemon.api('GET', `/1.0/images/${id}`)).status !== 404) await delay(20)
        }
        await operator('collect')
        await operator('check')
        assert.deepEqual(await listStored(data), [], `seed ${seed}: nothing is left after collection`)
        const spools = await readdir(join(data, 'spool')).catch(() => [])
        assert.deepEqual(spools, [], `seed ${seed}`)
      } finally {
        server.closeAllConnections()
        server.close()
      }
    })
  }
})

test('crash: the digest of the test disk itself is that of its bytes', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'disk-'))
  const path = join(folder, 'disk')
  const told = await randomDisk(path, { size: 5 << 20, random: createRandom(seed) })
  const sum = createHash('sha256')
  for await (const chunk of createReadStream(path)) sum.update(chunk)
  assert.equal(sum.digest('hex'), told, `seed ${seed}`)
  await rm(folder, { recursive: true })
})
