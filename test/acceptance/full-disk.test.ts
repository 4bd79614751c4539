import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { startDaemon } from '../support/daemon.ts'
import { startFileServer } from '../support/file-server.ts'
import { execute, register, settled } from '../support/registration.ts'
import { mountSmallDisk } from '../support/small-disk.ts'

const folder = await mkdtemp(join(tmpdir(), 'full-disk-'))
const disk = join(folder, 'disk')
// Elsewhere the tests of the store's reserve have to do.
const mounted = mountSmallDisk(disk, 24)
after(async () => {
  if (mounted) execFileSync('umount', [disk])
  await rm(folder, { recursive: true, force: true })
})

test('full disk: a registration that does not fit fails, everything else goes on, collection makes room', async (t) => {
  if (!mounted) return t.diagnostic('needs root, to mount a small disk')
  await writeFile(join(folder, 'large.img'), randomBytes(40 * 1024 * 1024))
  await writeFile(join(folder, 'small.img'), randomBytes(1024 * 1024))
  await using files = await startFileServer(folder)
  await using daemon = await startDaemon({ data: join(disk, 'data') })
  // What is announced is refused before it comes, what is not where there is no room any more.
  const announced = await register(daemon, files.url('large.img'))
  let why = ''
  while (why === '') {
    const { body } = await daemon.api<{ progress: { message: string | null } }>(
      'GET',
      `/1.0/images/${announced.id}`,
    )
    why = body.progress.message ?? ''
  }
  assert.match(why, /too full for 41943040 bytes more: \d+ are free, \d+ must stay free/)
  await daemon.api('DELETE', `/1.0/images/${announced.id}`)
  const nothing = await execute('bin/image-library', ['collect', '--data', join(disk, 'data')])
  assert.match(nothing.stdout, /^deleted 0 blocks/)
  const { id } = await register(daemon, files.url('large.img?chunked'))
  const image = await settled(daemon, id)
  assert.deepEqual([image.status, image.failure?.code], ['failed', 'storage'], daemon.output())
  assert.match(image.failure?.message ?? '', /full/)
  const renamed = await daemon.api<{ name: string }>('PUT', `/1.0/images/${id}`, { name: 'too large' })
  assert.deepEqual([renamed.status, renamed.body.name], [200, 'too large'])
  assert.doesNotMatch(daemon.output(), /cannot rollback|request failed/)

  const collected = await execute('bin/image-library', ['collect', '--data', join(disk, 'data')])
  assert.match(collected.stdout, /^deleted [1-9]\d* blocks/)
  const small = await settled(daemon, (await register(daemon, files.url('small.img'))).id)
  assert.equal(small.status, 'available', daemon.output())
})
