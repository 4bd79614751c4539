import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { LibraryError } from '#base/errors.ts'
import { Refusal, SourceFailure } from '#base/refusal.ts'
import { createJobQueue } from '#control/jobs/queue.ts'
import { createLibrary } from './create-library.ts'
import { openLibrary, REGISTER, registerAvailable, URL_TEXT } from './library.fixtures.ts'

const messagesOf = (events: readonly { action: string }[]) =>
  events.map((event) => event.action.replace('image.', ''))

test("register: gives a private image that is creating, named for its source, without the URL's secrets", async () => {
  await using fixture = await openLibrary()
  const { library, owner, clock } = fixture
  const image = await library.register(owner, { ...REGISTER, minRam: 0, description: '' })
  assert.match(image.id, /^img-[0-9a-z]{5}$/)
  assert.equal(image.name, 'debian-12.qcow2 2026-01-02 03:04')
  assert.deepEqual(
    [image.status, image.public, image.official, image.locked, image.minRam, image.description],
    ['creating', false, false, false, null, null],
  )
  assert.equal(image.source, 'debian-12.qcow2')
  assert.equal(image.createdAt, clock.at)
  assert.ok(!JSON.stringify(await library.show(owner, image.id)).includes('secret'))
})

test('register: every field that is wrong is named with its rule, and nothing is left', async () => {
  await using fixture = await openLibrary()
  const { library, owner } = fixture
  const cases: [object, RegExp][] = [
    [{ httpUrl: undefined }, /^http_url or upload must be given/],
    [{ httpUrl: '' }, /^http_url or upload/],
    [{ upload: true }, /^http_url or upload/],
    [{ httpUrl: 'not a url' }, /^http_url cannot be read$/],
    [{ arch: 'arm64' }, /^arch must be x86_64 or i686$/],
    [{ arch: undefined }, /^arch must/],
    [{ name: 'x'.repeat(256) }, /^name must be at most 255/],
    [{ name: 'a\u001b[31m' }, /^name must not hold control/],
    [{ name: 'a\nb' }, /^name must not hold control/],
    [{ description: 'a\u0000' }, /^description must not/],
    [{ description: 'x'.repeat(4097) }, /^description must be at most/],
    [{ username: 'two words' }, /^username must not hold spaces/],
    [{ minRam: -1 }, /^min_ram must be a whole number/],
    [{ minRam: 1.5 }, /^min_ram must/],
    [{ minRam: Number.NaN }, /^min_ram must/],
    [{ checksum: 'md5:0' }, /^checksum must be sha256:/],
    [{ checksum: `sha256:${'0'.repeat(63)}` }, /^checksum must/],
  ]
  for (const [change, message] of cases) {
    const attempt = library.register(owner, { ...REGISTER, ...change })
    await assert.rejects(attempt, (error: LibraryError) => {
      assert.equal(error.code, 'invalid')
      assert.match(error.message, message)
      return true
    })
  }
  assert.deepEqual(await library.list(owner), [])
})

test('register: a session for storage may not', async () => {
  await using fixture = await openLibrary()
  const { library, owner } = fixture
  await assert.rejects(library.register({ ...owner, permissions: 'storage' }, REGISTER), { code: 'denied' })
})

test('registration: progress is seen at once, is never 100 before the image is available, then always', async () => {
  await using fixture = await openLibrary()
  const { library, owner, scripted, options } = fixture
  const { id, progress } = await library.register(owner, {
    ...REGISTER,
    checksum: `sha256:${'AB'.repeat(32)}`,
  })
  assert.deepEqual([progress?.phase, progress?.percent], ['waiting', 0])
  const call = await scripted.call(0)
  assert.deepEqual(call.request.source, { kind: 'http', url: URL_TEXT })
  assert.equal(call.request.expectedSha256, 'ab'.repeat(32))
  call.progress({ received: 250, total: 1000, rate: 50, virtualSize: 8192, dataSize: 100 })
  const half = await library.show(owner, id)
  assert.deepEqual(
    [half.progress?.percent, half.progress?.etaSeconds, half.virtualSize, half.dataSize],
    [25, 15, 8192, 100],
  )
  call.progress({ received: 1000, total: 1000, rate: 50 })
  assert.equal((await library.show(owner, id)).progress?.percent, 99)
  call.progress({ phase: 'saving', received: 1000, total: 1000 })
  assert.equal((await library.list(owner))[0]?.progress?.percent, 99)
  call.progress({ received: 1000, total: undefined })
  assert.equal((await library.show(owner, id)).progress?.percent, null)
  call.succeed({ notes: ['a note'] })
  await options.jobs.settled()
  const image = await library.show(owner, id)
  assert.deepEqual([image.status, image.progress?.percent, image.progress?.phase], ['available', 100, 'done'])
  assert.deepEqual([image.virtualSize, image.dataSize, image.manifest], [4096, 1024, 'ab'.repeat(32)])
  assert.equal(image.provenance.url, 'http://example.test/images/debian-12.qcow2')
  assert.deepEqual(image.provenance.notes, ['a note'])
  assert.deepEqual(messagesOf(await library.events(owner, id)), ['registered', 'started', 'available'])
})

test('registration: progress is saved for other processes, at most once a second', async () => {
  await using fixture = await openLibrary()
  const { library, owner, scripted, clock, options } = fixture
  const { id } = await library.register(owner, REGISTER)
  const call = await scripted.call(0)
  /** What is saved once it is no longer what it was; nobody waits for the saving. */
  const saved = async (before: number) => {
    for (;;) {
      const bytes = (await options.catalog.images.find(id))?.progress?.bytesDone
      if (bytes !== before) return bytes
      await setImmediate()
    }
  }
  call.progress({ received: 1 })
  call.progress({ received: 2 })
  assert.equal(await saved(0), 1)
  clock.at += 1000
  call.progress({ received: 3 })
  assert.equal(await saved(1), 3)
})

test('registration: a refusal fails the image at once with code, sentence and next step', async () => {
  await using fixture = await openLibrary()
  const { library, owner, scripted, options } = fixture
  const { id } = await library.register(owner, REGISTER)
  const call = await scripted.call(0)
  call.progress({ virtualSize: 8192, dataSize: 100 })
  call.fail(new Refusal('truncated', 'The file ends too early (7 bytes).', { hint: 'Download it again.' }))
  await options.jobs.settled()
  const image = await library.show(owner, id)
  assert.equal(image.status, 'failed')
  const failure = {
    code: 'truncated',
    message: 'The file ends too early (7 bytes).',
    hint: 'Download it again.',
  }
  assert.deepEqual(image.failure, failure)
  assert.deepEqual([image.virtualSize, image.dataSize, image.manifest], [0, 0, null])
  assert.deepEqual(messagesOf(await library.events(owner, id)), ['registered', 'started', 'failed'])
  await assert.rejects(library.use(owner, id), { code: 'conflict' })
  assert.equal(await options.catalog.jobs.find('registration', id), undefined)
})

test('registration: a passing failure is tried again, and after five the last reason stands', async () => {
  await using fixture = await openLibrary()
  const { library, owner, scripted, clock, step } = fixture
  const { id } = await library.register(owner, REGISTER)
  for (let attempt = 1; attempt <= 5; attempt++) {
    const call = await scripted.call(attempt - 1)
    call.progress({ received: 1 })
    const { progress } = await library.show(owner, id)
    assert.deepEqual([progress?.attempt, progress?.message], [attempt, null])
    call.fail(new SourceFailure('The download failed: HTTP status 503.', { retryable: true, hint: 'Wait.' }))
    await fixture.options.jobs.settled()
    if (attempt === 5) break
    const waiting = await library.show(owner, id)
    assert.deepEqual(
      [waiting.status, waiting.progress?.phase, waiting.progress?.attempt, waiting.progress?.message],
      ['creating', 'waiting', attempt + 1, 'The download failed: HTTP status 503.'],
    )
    clock.at += 60_000
    await step()
  }
  const image = await library.show(owner, id)
  const { status, failure } = image
  const message = 'The download failed: HTTP status 503. It was tried 5 times.'
  assert.deepEqual([status, failure], ['failed', { code: 'source', message, hint: 'Wait.' }])
})

test('registration: one that failed at once was tried once, which nobody needs to be told', async () => {
  await using fixture = await openLibrary()
  const { library, owner, scripted } = fixture
  const { id } = await library.register(owner, REGISTER)
  const call = await scripted.call(0)
  call.fail(new SourceFailure('The download failed: HTTP status 404.', { retryable: false }))
  await fixture.options.jobs.settled()
  const { failure } = await library.show(owner, id)
  assert.equal(failure?.message, 'The download failed: HTTP status 404.')
})

test('registration: trouble of our own is told without its details', async () => {
  await using fixture = await openLibrary()
  const { library, owner, scripted, options } = fixture
  const codes: (string | undefined)[] = []
  for (const error of [
    new TypeError('x is undefined at /srv'),
    new LibraryError('corrupt', 'block /srv/x'),
  ]) {
    const { id } = await library.register(owner, REGISTER)
    const call = await scripted.call(codes.length)
    call.fail(error)
    await options.jobs.settled()
    const { failure } = await library.show(owner, id)
    assert.ok(!failure?.message.includes('/srv'))
    codes.push(failure?.code)
  }
  assert.deepEqual(codes, ['internal', 'storage'])
})

test('registration: destroying cancels it, and its result comes too late', async () => {
  await using fixture = await openLibrary()
  const { library, owner, scripted, clock, step, options } = fixture
  const { id } = await library.register(owner, REGISTER)
  const call = await scripted.call(0)
  call.succeed()
  const image = await library.destroy(owner, id)
  assert.equal(image.status, 'deleting')
  assert.equal(call.signal.aborted, true)
  await options.jobs.settled()
  assert.equal((await library.show(owner, id)).status, 'deleting')
  clock.at += 2000
  await step()
  await options.jobs.settled()
  await assert.rejects(library.show(owner, id), { code: 'not_found' })
  assert.deepEqual(messagesOf(await library.events(owner, id)).slice(-2), ['deleting', 'deleted'])
})

test('quota: is asked before a registration and again at its end, where others are not counted twice', async () => {
  await using fixture = await openLibrary({ quota: 2048 })
  const { library, owner, scripted, options } = fixture
  await registerAvailable(fixture)
  const { id } = await library.register(owner, REGISTER)
  const call = await scripted.call(1)
  call.progress({ dataSize: 1024 })
  call.succeed({ dataSize: 1025 })
  await options.jobs.settled()
  assert.equal((await library.show(owner, id)).failure?.code, 'quota')
  await registerAvailable(fixture)
  await assert.rejects(library.register(owner, REGISTER), { code: 'denied', name: 'QuotaExceeded' })
})

test('a process that dies in the middle: the next one takes the registration up and ends it', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options, clock, scripted } = fixture
  const { id } = await library.register(owner, REGISTER)
  await scripted.call(0)
  await options.jobs[Symbol.asyncDispose]()
  // As a dead process leaves it: the lease is still there.
  const claim = {
    kind: 'registration',
    owner: 'dead',
    now: clock.at,
    generation: 1,
    leaseMs: 30_000,
    perAccount: 9,
  }
  assert.equal((await options.catalog.jobs.claim(claim))?.subject, id)
  await using jobs = createJobQueue({ ...options, owner: 'next', random: randomBytes })
  await using next = createLibrary({ ...options, jobs })
  await jobs.releaseAllLeases()
  await next.start()
  ;(await scripted.call(1)).succeed()
  await jobs.settled()
  assert.equal((await next.show(owner, id)).status, 'available')
})

test('start: images that lost their job are ended, so nothing is stuck', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options, step } = fixture
  const { catalog } = options
  const creating = await library.register(owner, { ...REGISTER, httpUrl: null, upload: true })
  const deleting = await library.register(owner, { ...REGISTER, httpUrl: null, upload: true })
  await catalog.images.update(deleting.id, { status: 'deleting' }, ['creating'])
  await catalog.jobs.remove('registration', creating.id)
  await catalog.jobs.remove('registration', deleting.id)
  await library.start()
  await step()
  await options.jobs.settled()
  assert.deepEqual(
    (await library.list(owner)).map((image) => [image.id, image.status, image.failure?.code]),
    [[creating.id, 'failed', 'internal']],
  )
})
