import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { digestOf } from '#data/block/block.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { DAMAGES, storedPath } from '../support/damage.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import { download, execute, type ImageJson, register, settled, sha256Of } from '../support/registration.ts'
import { buildServer, destroyServer, serverIs, serverSettings, standsAlone } from '../support/servers.ts'
import { needs } from '../support/tools.ts'

const MiB = 1024 * 1024
const BLOCKS = Array.from({ length: 24 }, () => randomBytes(MiB))
const DISK = Buffer.concat(BLOCKS)

/** Servers whose guests never boot: what counts is what lies below them. */
describe('damage below servers', needs('qemu-system-x86_64'), () => {
  let folder: string
  let daemon: Daemon
  let files: FileServer
  let image: ImageJson
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'servers-repair-'))
    await writeFile(join(folder, 'disk'), DISK)
    files = await startFileServer(folder)
    const settings = { 'check.age': 'none', 'source.allow': '127.0.0.0/8', 'servers.fill_rate': '6 MiB' }
    daemon = await startDaemon({ settings: serverSettings(settings) })
    image = await settled(daemon, (await register(daemon, files.url('disk'))).id)
    assert.equal(image.status, 'available', JSON.stringify(image))
  })
  after(async () => {
    await daemon?.[Symbol.asyncDispose]()
    await files?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  const pathOf = (block: number) =>
    storedPath(join(daemon.data, 'store'), 'blocks', digestOf(BLOCKS[block] ?? new Uint8Array()))
  async function library(command: string, ...words: string[]): Promise<string> {
    const place = ['--data', daemon.data, '--config', daemon.settings]
    return (await execute('bin/image-library', [command, ...place, ...words])).stdout
  }
  const assertWhole = async () =>
    assert.equal(
      await sha256Of(await download(daemon, image.id, 'raw')),
      createHash('sha256').update(DISK).digest('hex'),
    )

  test('a server that is filled waits for the block, goes on once it is mended, and mends others', async () => {
    const last = BLOCKS.length - 1
    await DAMAGES[0]?.apply(pathOf(last), pathOf(0))
    const { id } = await buildServer(daemon, image.id)
    const troubled = await serverIs(daemon, id, ({ trouble }) => trouble !== null)
    assert.match(troubled.trouble?.message ?? '', /damaged or missing/)
    assert.match(await library('repair', image.id), /its source/)
    await standsAlone(daemon, id)
    const { trouble, status } = await serverIs(daemon, id, ({ trouble }) => trouble === null)
    assert.deepEqual([trouble, status], [null, 'active'])

    // From now on the base is the only copy that there is.
    await rm(join(folder, 'disk'))
    for (const [index, { apply }] of DAMAGES.entries()) await apply(pathOf(index + 1), pathOf(0))
    const manifests = join(daemon.data, 'store', 'manifests')
    const names = await readdir(manifests, { recursive: true })
    const manifest = names.find((name) => /^..\/[0-9a-f]{64}$/.test(name)) ?? ''
    await DAMAGES[0]?.apply(join(manifests, manifest), '')
    assert.match(await library('repair', image.id), /a copy of the disk/)
    assert.match(await library('check'), /nothing is damaged or missing/)
    await assertWhole()
    await destroyServer(daemon, id)
  })
})
