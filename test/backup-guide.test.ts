import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { printIni } from '../src/daemon/bootstrap.ts'
import { type Daemon, startDaemon } from './support/daemon.ts'
import { download, execute, sha256Of } from './support/registration.ts'
import { needs } from './support/tools.ts'
import { root, runTour } from './support/tour.ts'

/** The configuration that `startDaemon` logs in with; a folder that was restored has none. */
async function writeConfiguration(data: string): Promise<void> {
  const { stdout } = await execute(join(root, 'bin/image-library'), ['client', 'create', '--data', data])
  const [clientId = '', accountId = '', , secret = ''] = (stdout.split('\n')[1] ?? '').split(/ +/)
  await writeFile(join(data, 'brightbox.ini'), printIni({ clientId, secret, accountId, apiUrl: '' }))
}

/** SHA-256 of the disks of all images, by id. */
async function disksOf(daemon: Daemon): Promise<Record<string, string>> {
  const { body } = await daemon.api<{ readonly id: string }[]>('GET', '/1.0/images')
  const sums = body.map(async ({ id }) => [id, await sha256Of(await download(daemon, id, 'raw'))])
  return Object.fromEntries(await Promise.all(sums))
}

test(
  'docs/guides/backup.md: a library is restored and moved as it says, and its images are the same',
  needs('bash', 'cmp'),
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'moving-guide-'))
    const [restored, moved] = [join(folder, 'restored'), join(folder, 'new')]
    const page = 'docs/guides/backup.md'
    /** What the page calls them. */
    const namesIn = (daemon: Daemon) => [
      ...(daemon.data === restored ? [] : [['/var/lib/image-library', daemon.data]]),
      ['/var/lib/restored', restored],
      ['/var/lib/new', moved],
      ['/backup/images', join(folder, 'images')],
      ['http://127.0.0.1:8080', daemon.url],
    ]
    const tour = (daemon: Daemon, mark?: string) => {
      const names = namesIn(daemon)
      const replace = (text: string) =>
        names.reduce((done, [name = '', here = '']) => done.replaceAll(name, here), text)
      const replaceBack = (text: string) =>
        names.reduce((done, [name = '', here = '']) => done.replaceAll(here, name), text)
      return runTour({ page, daemon, folder, replace, replaceBack, ...(mark === undefined ? {} : { mark }) })
    }
    try {
      let disks: Record<string, string>
      {
        await using daemon = await startDaemon()
        await tour(daemon)
        disks = await disksOf(daemon)
        assert.equal(Object.keys(disks).length, 2)
      }
      await writeConfiguration(restored)
      {
        await using daemon = await startDaemon({ data: restored })
        assert.deepEqual(await disksOf(daemon), disks)
        await tour(daemon, 'restored')
        // It still runs, and serves what is there.
        assert.deepEqual(await disksOf(daemon), disks)
        const { status } = await daemon.api('PUT', `/1.0/images/${Object.keys(disks)[0]}`, { name: 'other' })
        assert.equal(status, 503)
      }
      await assert.rejects(startDaemon({ data: restored }), /has moved to/)
      await writeFile(join(moved, 'brightbox.ini'), await readFile(join(restored, 'brightbox.ini')))
      await using daemon = await startDaemon({ data: moved })
      assert.deepEqual(await disksOf(daemon), disks)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
)
