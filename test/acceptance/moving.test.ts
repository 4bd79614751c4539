import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { firstUser } from '../support/orbit.ts'
import { download, execute, register, settled, sha256Of } from '../support/registration.ts'

const MiB = 1024 * 1024
const run = (...words: string[]) => execute('bin/image-library', words)

/** Serves a disk; the first time it stops in the middle and says nothing more. */
async function startHolding(disk: Buffer) {
  let requests = 0
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-length': disk.length })
    if (requests++ > 0) response.end(disk)
    else response.write(disk.subarray(0, disk.length / 2))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}/disk.raw`,
    asked: () => requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function assertObjects(daemon: Daemon, objects: ReadonlyMap<string, Buffer>): Promise<void> {
  const user = await firstUser(daemon)
  for (const [name, bytes] of objects) {
    const { status, body } = await user.send('GET', `/box/${name}`)
    assert.deepEqual([status, body.equals(bytes)], [200, true], name)
  }
}

/** Starts the library that came to a folder, with the configuration that stayed in the old one. */
async function startIn(data: string, old: string): Promise<Daemon> {
  await copyFile(join(old, 'brightbox.ini'), join(data, 'brightbox.ini'))
  return await startDaemon({ data })
}

test('moving: objects and what is under way come along, and objects where a library is restored', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'moving-'))
  const at = (name: string) => join(folder, name)
  const disk = randomBytes(2 * MiB)
  const objects = new Map([
    ['small', Buffer.from('a few bytes')],
    ['large', randomBytes(3 * MiB + 1)],
  ])
  await using source = await startHolding(disk)
  try {
    let id: string
    {
      await using daemon = await startDaemon({ data: at('old') })
      const user = await firstUser(daemon)
      await user.send('PUT', '/box')
      for (const [name, body] of objects)
        assert.equal((await user.send('PUT', `/box/${name}`, { body })).status, 201)
      ;({ id } = await register(daemon, source.url))
      while (source.asked() === 0) await new Promise((resolve) => setTimeout(resolve, 10))
      const { stdout } = await run('backup', at('backup'), '--data', at('old'))
      assert.match(stdout, /not in the backup: 1 image that had not come wholly/)
      await run('migrate-data', '--from', at('old'), '--to', at('new'))
      await assertObjects(daemon, objects)
      assert.equal((await user.send('PUT', '/box/later', { body: 'x' })).status, 503)
      assert.equal((await user.send('DELETE', '/box/small')).status, 503)
    }
    {
      await using daemon = await startIn(at('new'), at('old'))
      await assertObjects(daemon, objects)
      assert.equal((await settled(daemon, id)).status, 'available')
      const sum = createHash('sha256').update(disk).digest('hex')
      assert.equal(await sha256Of(await download(daemon, id, 'raw')), sum)
    }
    await run('restore', at('backup'), '--data', at('restored'))
    await using daemon = await startIn(at('restored'), at('old'))
    await assertObjects(daemon, objects)
    assert.equal((await settled(daemon, id)).status, 'failed')
    await run('check', '--data', at('restored'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
