import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { Ledger } from '#base/ledger.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { REGISTRATION } from './deps.ts'
import { type LibraryFixture, openLibrary, REGISTER, registerAvailable } from './library.fixtures.ts'

const HOURS = 3600_000
const never = { signal: new AbortController().signal }

async function* chunks(...texts: readonly string[]) {
  for (const text of texts) yield Buffer.from(text)
}

const registerUpload = ({ library, owner }: LibraryFixture) =>
  library.register(owner, { arch: 'x86_64', upload: true })

test('upload: bytes in several parts become the source of the registration, as they lie in the store', async () => {
  for (const size of [13, 40_000]) {
    await using fixture = await openLibrary()
    const { library, owner, scripted, options, contents } = fixture
    const text = 'one two three'.padEnd(size, '.')
    const { id, progress } = await registerUpload(fixture)
    assert.equal(progress?.phase, 'uploading')
    await library.uploads.receive(owner, id, 0, chunks('one ', 'two '), never)
    const { received } = await library.uploads.receive(owner, id, 8, chunks(text.slice(8)), never)
    assert.deepEqual([received, (await library.uploads.show(owner, id)).received], [size, size])
    assert.equal((await library.show(owner, id)).progress?.bytesDone, size)
    assert.equal((await library.uploads.finish(owner, id)).progress?.phase, 'waiting')
    const { request, succeed } = await scripted.call(0)
    const { source } = request
    assert.ok(source.kind === 'parts')
    await using reader = await contents.openReader(source.parts)
    const whole = Buffer.concat(await Array.fromAsync(reader.read(0, size, never.signal)))
    assert.equal(whole.toString(), text)
    const [manifest] = [...contents.manifests].find(([, bytes]) => bytes.length === size) ?? []
    assert.deepEqual([source.disk, source.url], [manifest, undefined])
    succeed()
    await options.jobs.settled()
    const image = await library.show(owner, id)
    assert.deepEqual([image.status, image.provenance.url, contents.open], ['available', null, 0])
  }
})

test('upload: what came before a break is kept, and only its end can be gone on from', async () => {
  await using fixture = await openLibrary()
  const { library, owner } = fixture
  const { id } = await registerUpload(fixture)
  async function* breaking() {
    yield Buffer.from('1234')
    throw new Error('connection lost')
  }
  await assert.rejects(library.uploads.receive(owner, id, 0, breaking(), never), /connection lost/)
  for (const offset of [0, 3, 5]) {
    await assert.rejects(library.uploads.receive(owner, id, offset, chunks('x'), never), {
      code: 'conflict',
      message: `the upload of image ${id} goes on at offset 4`,
    })
  }
  assert.equal((await library.uploads.receive(owner, id, 4, chunks('5'), never)).received, 5)
})

test('upload: more than a source may have is refused, an aborted part stops', async () => {
  await using fixture = await openLibrary({ limits: { ...DEFAULT_LIMITS, sourceSize: 5 } })
  const { library, owner } = fixture
  const { id } = await registerUpload(fixture)
  await assert.rejects(library.uploads.receive(owner, id, 0, chunks('123', '456'), never), {
    code: 'too_large',
  })
  assert.equal((await library.uploads.show(owner, id)).received, 3)
  const aborted = { signal: AbortSignal.abort(new Error('stop')) }
  await assert.rejects(library.uploads.receive(owner, id, 3, chunks('4'), aborted), /stop/)
})

test('upload: two parts at once, an early or second end, and other images are refused', async () => {
  await using fixture = await openLibrary()
  const { library, owner, other } = fixture
  const { id } = await registerUpload(fixture)
  await assert.rejects(library.uploads.finish(owner, id), { code: 'conflict' })
  const opened = Promise.withResolvers<void>()
  const entered = Promise.withResolvers<void>()
  async function* slow() {
    entered.resolve()
    await opened.promise
    yield Buffer.from('x')
  }
  const first = library.uploads.receive(owner, id, 0, slow(), never)
  await entered.promise
  await assert.rejects(library.uploads.receive(owner, id, 0, chunks('y'), never), { code: 'conflict' })
  await assert.rejects(library.uploads.finish(owner, id), { code: 'conflict' })
  opened.resolve()
  await first
  await library.uploads.finish(owner, id)
  await assert.rejects(library.uploads.finish(owner, id), { code: 'conflict' })
  await assert.rejects(library.uploads.receive(owner, id, 1, chunks('y'), never), { code: 'conflict' })
  await assert.rejects(library.uploads.show(other, id), { code: 'not_found' })
  const fetched = await library.register(owner, REGISTER)
  await assert.rejects(library.uploads.receive(owner, fetched.id, 0, chunks('y'), never), {
    code: 'conflict',
  })
})

test('upload: one that nothing is heard of for a day fails, one that moves does not', async () => {
  await using fixture = await openLibrary()
  const { library, owner, clock, step, options } = fixture
  const quiet = await registerUpload(fixture)
  const moving = await registerUpload(fixture)
  await library.uploads.receive(owner, quiet.id, 0, chunks('x'), never)
  clock.at += 23 * HOURS
  await library.uploads.receive(owner, moving.id, 0, chunks('x'), never)
  clock.at += 1 * HOURS
  await step()
  await options.jobs.settled()
  const image = await library.show(owner, quiet.id)
  assert.deepEqual([image.status, image.failure?.code], ['failed', 'source'])
  assert.match(image.failure?.message ?? '', /not finished within 24 hours/)
  assert.equal((await library.show(owner, moving.id)).status, 'creating')
})

test('upload: destroying its image ends the part under way, silent or not', async () => {
  for (const silent of [true, false]) {
    await using fixture = await openLibrary()
    const { library, owner, clock, step, options, contents } = fixture
    const { id } = await registerUpload(fixture)
    const begun = Promise.withResolvers<void>()
    const destroyed = Promise.withResolvers<void>()
    let sent = 0
    async function* endless() {
      yield Buffer.from('x')
      begun.resolve()
      if (silent) await new Promise(() => {})
      await destroyed.promise
      for (; sent < 100; sent++) yield Buffer.from('x')
    }
    const part = library.uploads.receive(owner, id, 0, endless(), never)
    await begun.promise
    const refused = assert.rejects(part, { code: 'conflict', message: /waits for no upload/ })
    await library.destroy(owner, id)
    destroyed.resolve()
    await refused
    assert.ok(sent < 3, `${sent} more were taken`)
    assert.equal(contents.open, 0)
    clock.at += 2000
    await step()
    await options.jobs.settled()
    await assert.rejects(library.show(owner, id), { code: 'not_found' })
  }
})

test('upload: one whose end is under way cannot be completed', async () => {
  await using fixture = await openLibrary()
  const { library, owner, clock, options } = fixture
  const { id } = await registerUpload(fixture)
  await library.uploads.receive(owner, id, 0, chunks('x'), never)
  clock.at += 24 * HOURS
  const claim = { kind: REGISTRATION, owner: 'another process', generation: 1, leaseMs: HOURS, perAccount: 1 }
  assert.ok(await options.catalog.beside(({ jobs }) => jobs.claim({ ...claim, now: clock.at })))
  await assert.rejects(library.uploads.finish(owner, id), { code: 'conflict', message: /has expired/ })
  const { progress } = await library.show(owner, id)
  assert.equal(progress?.phase, 'uploading')
})

test('upload: a part that takes longer than a day is not given up while bytes come', async () => {
  await using fixture = await openLibrary()
  const { library, owner, clock, step } = fixture
  const { id } = await registerUpload(fixture)
  const hours = 60
  async function* slow() {
    for (let hour = 0; hour < hours; hour++) {
      yield Buffer.from('x')
      clock.at += HOURS
      await step()
    }
  }
  const { received, expiresAt } = await library.uploads.receive(owner, id, 0, slow(), never)
  assert.deepEqual([received, expiresAt], [hours, clock.at + 24 * HOURS])
})

test('upload: one given up while a part comes in ends that, too', async () => {
  await using fixture = await openLibrary()
  const { library, owner, clock, step, options } = fixture
  const { id } = await registerUpload(fixture)
  const begun = Promise.withResolvers<void>()
  async function* silent() {
    yield Buffer.from('x')
    begun.resolve()
    await new Promise(() => {})
  }
  const refused = assert.rejects(library.uploads.receive(owner, id, 0, silent(), never), { code: 'conflict' })
  await begun.promise
  clock.at += 24 * HOURS
  await step()
  await options.jobs.settled()
  await refused
})

test('upload: one whose image is destroyed takes no more', async () => {
  await using fixture = await openLibrary()
  const { library, owner, clock, step, options } = fixture
  const { id } = await registerUpload(fixture)
  await library.uploads.receive(owner, id, 0, chunks('x'), never)
  await library.destroy(owner, id)
  await assert.rejects(library.uploads.receive(owner, id, 1, chunks('y'), never), { code: 'conflict' })
  clock.at += 2000
  await step()
  await options.jobs.settled()
  await assert.rejects(library.uploads.show(owner, id), { code: 'not_found' })
})

test('upload: how far it is shows in bytes and, where its length is known, in percent', async () => {
  await using fixture = await openLibrary()
  const { library, owner } = fixture
  const { id } = await registerUpload(fixture)
  async function* watched() {
    yield Buffer.from('1234')
    const { progress } = await library.show(owner, id)
    assert.deepEqual([progress?.bytesDone, progress?.bytesTotal, progress?.percent], [4, 8, 50])
    yield Buffer.from('56')
  }
  await library.uploads.receive(owner, id, 0, watched(), { ...never, total: 8 })
  const { progress } = await library.show(owner, id)
  assert.deepEqual([progress?.bytesDone, progress?.bytesTotal, progress?.percent], [6, 8, 75])
})

test('upload: an account may have so many that are no image yet, and more once one has ended', async () => {
  await using fixture = await openLibrary({ uploadsPerAccount: 2 })
  const { library, owner, other } = fixture
  const { id } = await registerUpload(fixture)
  await registerUpload(fixture)
  await assert.rejects(registerUpload(fixture), { code: 'conflict', hint: /destroy/ })
  await library.register(owner, REGISTER)
  await library.register(other, { arch: 'x86_64', upload: true })
  await library.destroy(owner, id)
  await registerUpload(fixture)
})

test('upload: what is announced and what has come counts against the quota, with all else', async () => {
  await using fixture = await openLibrary({ quota: 2048 })
  const { library, owner, other } = fixture
  const exceeded = { code: 'denied', message: /quota of 2048 bytes/ }
  await registerAvailable(fixture) // of 1024 bytes
  const [one, two] = [await registerUpload(fixture), await registerUpload(fixture)]
  const send = (id: string, bytes: number, total?: number) =>
    library.uploads.receive(owner, id, 0, chunks('x'.repeat(bytes)), { ...never, total })
  await assert.rejects(send(one.id, 10, 1025), exceeded)
  // Refused before a byte was kept, so that another may be announced.
  await send(one.id, 10, 1000)
  await assert.rejects(send(two.id, 25), exceeded)
  await assert.rejects(send(two.id, 10, 25), exceeded)
  await send(two.id, 24)
  await assert.rejects(library.register(owner, REGISTER), exceeded)
  await library.register(other, REGISTER)
  await library.destroy(owner, one.id)
  await library.register(owner, REGISTER)
})

test('upload: sent whole after a break, it is refused with what to do', async () => {
  await using fixture = await openLibrary()
  const { library, owner } = fixture
  const { id } = await registerUpload(fixture)
  await library.uploads.receive(owner, id, 0, chunks('1234'), never)
  const again = library.uploads.receive(owner, id, 0, chunks('12345678'), never)
  await assert.rejects(again, { code: 'conflict', hint: /Content-Range: bytes 4-LAST\/TOTAL/ })
})

test('upload: a disk without space refuses bytes and keeps what came before', async () => {
  let left = 4
  const demand = (bytes: number) => {
    if (bytes > left) throw new LibraryError('unavailable', 'keep more')
    left -= bytes
  }
  await using fixture = await openLibrary({ reserve: { demand, promise: () => new Ledger().take([]) } })
  const { library, owner } = fixture
  const { id } = await registerUpload(fixture)
  await assert.rejects(library.uploads.receive(owner, id, 0, chunks('123', '456'), never), {
    code: 'unavailable',
  })
  assert.equal((await library.uploads.show(owner, id)).received, 3)
})

test('upload: with the last byte that was announced it is registered, with fewer it still waits', async () => {
  await using fixture = await openLibrary()
  const { library, owner, scripted, options } = fixture
  const whole = await registerUpload(fixture)
  const part = await registerUpload(fixture)
  const all = await library.uploads.receive(owner, whole.id, 0, chunks('1234'), { ...never, total: 4 })
  const some = await library.uploads.receive(owner, part.id, 0, chunks('123'), { ...never, total: 4 })
  assert.deepEqual([all.isComplete, some.isComplete], [true, false])
  ;(await scripted.call(0)).succeed()
  await options.jobs.settled()
  assert.equal((await library.show(owner, whole.id)).status, 'available')
  assert.equal((await library.show(owner, part.id)).progress?.phase, 'uploading')
  const actions = (await library.events(owner, whole.id)).map(({ action }) => action)
  assert.equal(actions.filter((action) => action === 'image.uploaded').length, 1)
})

test('upload: nothing comes where nothing was announced', async () => {
  await using fixture = await openLibrary()
  const { library, owner } = fixture
  const { id } = await registerUpload(fixture)
  const { isComplete } = await library.uploads.receive(owner, id, 0, chunks(), { ...never, total: 0 })
  assert.equal(isComplete, false)
  await assert.rejects(library.uploads.finish(owner, id), { code: 'conflict', message: /holds no bytes/ })
})
