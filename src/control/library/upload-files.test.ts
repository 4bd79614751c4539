import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { LibraryError } from '#base/errors.ts'
import { SyncedFiles } from '../../../test/support/synced-files.ts'
import { type LibraryFixture, openLibrary } from './library.fixtures.ts'

const never = { signal: new AbortController().signal }

async function* chunks(...texts: readonly string[]) {
  for (const text of texts) yield Buffer.from(text)
}

const registerUpload = ({ library, owner }: LibraryFixture) =>
  library.register(owner, { arch: 'x86_64', upload: true })

test('upload: a file that cannot be removed holds nothing up, and goes once it can be', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  await using fixture = await openLibrary()
  const { library, owner, scripted, options } = fixture
  const { id } = await registerUpload(fixture)
  await library.uploads.receive(owner, id, 0, chunks('one'), never)
  await library.uploads.finish(owner, id)
  const call = await scripted.call(0)
  const path = join(options.uploadFolder, id)
  // Not even root can remove a folder that is not empty as if it were a file.
  await rm(path)
  await mkdir(join(path, 'in the way'), { recursive: true })
  call.succeed()
  await options.jobs.settled()
  assert.equal((await library.show(owner, id)).status, 'available')
  assert.equal(existsSync(path), true)
  await rm(path, { recursive: true })
  await writeFile(path, 'one')
  t.mock.timers.tick(60_000)
  while (existsSync(path)) await turn()
})

test('upload: a disk that refuses is told as such, and what came is gone on from', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options } = fixture
  const { id } = await registerUpload(fixture)
  await mkdir(options.uploadFolder, { recursive: true })
  const path = join(options.uploadFolder, id)
  await mkdir(path)
  await assert.rejects(library.uploads.receive(owner, id, (await stat(path)).size, chunks('x'), never), {
    code: 'unavailable',
  })
  await rm(path, { recursive: true })
  assert.equal((await library.uploads.receive(owner, id, 0, chunks('x'), never)).received, 1)
})

test('upload: what was said to be received survives a power cut, also where the first part broke off', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options } = fixture
  using synced = await SyncedFiles.watch()
  const { id } = await registerUpload(fixture)
  await library.uploads.receive(owner, id, 0, chunks('one'), never)
  synced.assertSafe(options.uploadFolder)
  const broken = await registerUpload(fixture)
  async function* breaking() {
    yield Buffer.from('one')
    throw new LibraryError('unavailable', 'the client went away')
  }
  await assert.rejects(library.uploads.receive(owner, broken.id, 0, breaking(), never))
  await library.uploads.receive(owner, broken.id, 3, chunks('two'), never)
  synced.assertSafe(options.uploadFolder)
})
