import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { REGISTRATION } from './deps.ts'
import { type LibraryFixture, openLibrary, registerAvailable } from './library.fixtures.ts'

const never = { signal: new AbortController().signal }

async function* chunks(...texts: readonly string[]) {
  for (const text of texts) yield Buffer.from(text)
}

/** An upload as the version before remembered it. */
async function oldUpload({ library, owner, options }: LibraryFixture, isComplete: boolean): Promise<string> {
  const { id } = await library.register(owner, { arch: 'x86_64', upload: true })
  const payload = { source: 'upload', complete: isComplete, total: 4, safe: 4 }
  const at = options.now()
  await options.catalog.jobs.reschedule(REGISTRATION, id, { now: at, runAt: at + 3600_000, payload })
  await mkdir(options.uploadFolder, { recursive: true })
  await writeFile(join(options.uploadFolder, id), '1234')
  return id
}

test('start: uploads to the version before fail with the reason, and their files go', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options, scripted } = fixture
  const ids = [await oldUpload(fixture, false), await oldUpload(fixture, true)]
  await library.start()
  await options.jobs.poll()
  await options.jobs.settled()
  for (const id of ids) {
    const { status, failure } = await library.show(owner, id)
    assert.deepEqual([status, failure?.code], ['failed', 'source'])
    assert.match(failure?.message ?? '', /begun with an older version/)
    assert.match(failure?.hint ?? '', /upload it once more/)
  }
  assert.deepEqual([scripted.calls.length, existsSync(options.uploadFolder)], [0, false])
})

test('start: files of others go or stay, and what came in the new way is not touched', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options } = fixture
  const done = await registerAvailable(fixture)
  const { id } = await library.register(owner, { arch: 'x86_64', upload: true })
  await library.uploads.receive(owner, id, 0, chunks('123'), never)
  await mkdir(options.uploadFolder, { recursive: true })
  for (const name of [done.id, id, 'img-zzzzz', 'notes.txt'])
    await writeFile(join(options.uploadFolder, name), 'x')
  await library.start()
  assert.deepEqual(await readdir(options.uploadFolder), ['notes.txt'])
  assert.equal((await library.show(owner, done.id)).status, 'available')
  assert.equal((await library.uploads.receive(owner, id, 3, chunks('4'), never)).received, 4)
})
