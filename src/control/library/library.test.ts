import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Event } from '#model/event.ts'
import { type LibraryFixture, openLibrary, REGISTER, registerAvailable } from './library.fixtures.ts'

const actionsOf = (events: readonly Event[]) => events.map((event) => event.action.replace('image.', ''))

test("visibility: a private image is its account's alone, a public one is for all to use", async () => {
  await using fixture = await openLibrary()
  const { library, owner, other } = fixture
  const { id } = await registerAvailable(fixture)
  const changes = [
    () => library.update(other, id, { name: 'mine' }),
    () => library.destroy(other, id),
    () => library.lock(other, id),
    () => library.unlock(other, id),
  ]
  for (const attempt of [() => library.show(other, id), () => library.use(other, id), ...changes]) {
    await assert.rejects(attempt, { code: 'not_found' })
  }
  assert.deepEqual(await library.list(other), [])
  await library.update(owner, id, { public: true })
  assert.equal((await library.list(other))[0]?.id, id)
  assert.equal((await library.use(other, id)).manifest, 'ab'.repeat(32))
  for (const attempt of [...changes, () => library.events(other, id)]) {
    await assert.rejects(attempt, { code: 'denied' })
  }
})

test('deprecating: hides from the listings of others, not from use, and can be taken back', async () => {
  await using fixture = await openLibrary()
  const { library, owner, other } = fixture
  const { id } = await registerAvailable(fixture, { public: true })
  await library.update(owner, id, { status: 'deprecated' })
  assert.deepEqual(await library.list(other), [])
  assert.equal((await library.list(owner))[0]?.status, 'deprecated')
  assert.equal((await library.show(other, id)).status, 'deprecated')
  assert.equal((await library.use(other, id)).id, id)
  await library.update(owner, id, { status: 'available' })
  assert.equal((await library.list(other)).length, 1)
  assert.deepEqual(actionsOf(await library.events(owner, id)).slice(-2), ['deprecated', 'restored'])
})

test('update: only what changes is told, what is the same is no event, and null clears', async () => {
  await using fixture = await openLibrary()
  const { library, owner, clock } = fixture
  const image = await registerAvailable(fixture, { name: 'n', username: 'u', description: 'd', minRam: 512 })
  clock.at += 5
  assert.equal((await library.update(owner, image.id, { name: 'n', minRam: 512 })).updatedAt, image.updatedAt)
  const changed = await library.update(owner, image.id, {
    name: null,
    username: null,
    description: '',
    minRam: 0,
    arch: 'i686',
    compatibilityMode: true,
  })
  assert.deepEqual(
    [
      changed.name,
      changed.username,
      changed.description,
      changed.minRam,
      changed.arch,
      changed.compatibilityMode,
    ],
    ['', null, null, null, 'i686', true],
  )
  assert.equal(changed.updatedAt, clock.at)
  const events = await library.events(owner, image.id)
  assert.equal(
    events.at(-1)?.message,
    'Changed: name, username, description, arch, min_ram, compatibility_mode.',
  )
  assert.deepEqual(events.at(-1)?.actor, { clientId: owner.clientId, userId: null })
})

test('update: statuses other than available and deprecated cannot be set, and not in every status', async () => {
  await using fixture = await openLibrary()
  const { library, owner } = fixture
  const { id } = await library.register(owner, REGISTER)
  for (const status of ['deleted', 'creating', 'public', '']) {
    await assert.rejects(library.update(owner, id, { status }), /status must be available or deprecated/)
  }
  await assert.rejects(library.update(owner, id, { status: 'available' }), { code: 'conflict' })
  await assert.rejects(library.update(owner, id, { arch: 'arm' }), /arch must/)
  await library.destroy(owner, id)
  await assert.rejects(library.update(owner, id, { name: 'x' }), { code: 'conflict' })
})

test('locking: refuses destroy until unlocked, and is idempotent', async () => {
  await using fixture = await openLibrary()
  const { library, owner } = fixture
  const { id } = await registerAvailable(fixture)
  assert.equal((await library.lock(owner, id)).locked, true)
  assert.equal((await library.lock(owner, id)).locked, true)
  await assert.rejects(library.destroy(owner, id), { code: 'conflict', hint: 'Unlock it first.' })
  assert.equal((await library.show(owner, id)).status, 'available')
  await library.unlock(owner, id)
  assert.equal((await library.unlock(owner, id)).locked, false)
  assert.equal((await library.destroy(owner, id)).status, 'deleting')
  assert.deepEqual(actionsOf(await library.events(owner, id)).slice(-3), ['locked', 'unlocked', 'deleting'])
})

test('destroy: twice is once, and afterwards only the events are left', async () => {
  await using fixture = await openLibrary()
  const { library, owner, other, clock, step, options } = fixture
  const { id } = await registerAvailable(fixture, { public: true })
  await library.destroy(owner, id)
  assert.equal((await library.destroy(owner, id)).status, 'deleting')
  await assert.rejects(library.show(other, id), { code: 'not_found' })
  await assert.rejects(library.use(owner, id), { code: 'conflict' })
  clock.at += 2000
  await step()
  await options.jobs.settled()
  assert.deepEqual(await library.list(owner), [])
  for (const attempt of [
    () => library.show(owner, id),
    () => library.destroy(owner, id),
    () => library.lock(owner, id),
  ]) {
    await assert.rejects(attempt, { code: 'not_found' })
  }
  assert.deepEqual(actionsOf(await library.events(owner, id)).slice(-2), ['deleting', 'deleted'])
  await assert.rejects(library.events(other, id), { code: 'not_found' })
})

test("official: is the operator's to set", async () => {
  await using fixture = await openLibrary()
  const { library, owner } = fixture
  const { id } = await registerAvailable(fixture)
  assert.equal((await library.operator.setOfficial(id, true)).official, true)
  await library.operator.setOfficial(id, true)
  const [last, before] = (await library.events(owner, id)).reverse()
  assert.deepEqual(
    [last?.action, last?.actor.clientId, before?.action],
    ['image.official', null, 'image.available'],
  )
  await assert.rejects(library.operator.setOfficial('img-zzzzz', true), { code: 'not_found' })
})

test('ancestors: stand in the answer only where the session may see them', async () => {
  await using fixture = await openLibrary()
  const { library, owner, other, options } = fixture
  const ancestor = await registerAvailable(fixture)
  const child = await registerAvailable(fixture, { public: true })
  await options.catalog.images.update(child.id, { ancestorId: ancestor.id }, ['available'])
  assert.equal((await library.show(owner, child.id)).ancestor?.id, ancestor.id)
  assert.equal((await library.show(other, child.id)).ancestor, null)
  assert.deepEqual(
    (await library.list(other)).map((image) => image.ancestor),
    [null],
  )
})

test('list: pages add up, and a wrong limit or place is named', async () => {
  await using fixture = await openLibrary()
  const { library, owner, other } = fixture
  const images = []
  for (let count = 0; count < 5; count++) images.push(await registerAvailable(fixture))
  const whole = await library.list(owner)
  const first = await library.list(owner, { limit: 3 })
  const rest = await library.list(owner, { limit: 3, after: first[2]?.id ?? '' })
  assert.deepEqual([...first, ...rest], whole)
  // The place stays where it is, even after its image has gone.
  await library.destroy(owner, first[2]?.id ?? '')
  assert.deepEqual((await library.list(owner, { after: first[2]?.id ?? '' })).length, 2)
  for (const limit of [0, -1, 1.5, 1001, Number.NaN]) {
    await assert.rejects(library.list(owner, { limit }), /limit must be a whole number from 1 to 1000/)
  }
  await assert.rejects(library.list(owner, { after: 'img-zzzzz' }), /after must be the id/)
  await assert.rejects(library.list(other, { after: images[0]?.id ?? '' }), /after must be the id/)
  const hidden = await library.register(owner, { ...REGISTER, public: true })
  await assert.rejects(library.list(other, { after: hidden.id }), /after must be the id/)
})

test('watch: gives what was, then what comes, neither lost nor doubled, and ends with its signal', async () => {
  await using fixture = await openLibrary()
  const { library, owner } = fixture
  const image = await registerAvailable(fixture)
  const [first] = await library.events(owner, image.id)
  const end = new AbortController()
  const seen: Event[] = []
  const caughtUp = Promise.withResolvers<void>()
  const watching = (async () => {
    for await (const event of library.watch(owner, image.id, first?.sequence ?? 0, end.signal)) {
      seen.push(event)
      if (event.action === 'image.available') caughtUp.resolve()
      if (event.action === 'image.locked' && seen.length >= 42) end.abort()
    }
  })()
  await caughtUp.promise
  for (let count = 0; count < 20; count++) {
    await library.unlock(owner, image.id)
    await Promise.all([library.lock(owner, image.id), registerAvailable(fixture)])
  }
  await library.unlock(owner, image.id)
  await library.lock(owner, image.id)
  await watching
  const expected = (await library.events(owner, image.id)).slice(1)
  assert.deepEqual(seen, expected)
})

test("watch: of all images of the account, and of nobody else's", async () => {
  await using fixture = await openLibrary()
  const { library, other } = fixture
  const { id } = await registerAvailable(fixture, { public: true })
  const own = await library.register(other, REGISTER)
  const signal = AbortSignal.timeout(10_000)
  for await (const event of library.watch(other, undefined, 0, signal)) {
    assert.equal(event.resourceId, own.id)
    break
  }
  await assert.rejects(library.watch(other, id, 0, signal).next(), { code: 'denied' })
  await assert.rejects(library.watch(other, 'img-zzzzz', 0, signal).next(), { code: 'not_found' })
})

async function manifestsOf(library: LibraryFixture['library']): Promise<string[]> {
  const { manifests } = await library.operator.roots()
  return [...new Set(await Array.fromAsync(manifests()))]
}

test('roots: manifests of what is not deleted and of what is being read; the oldest registration', async () => {
  await using fixture = await openLibrary()
  const { library, owner, clock, step, options, scripted } = fixture
  const image = await registerAvailable(fixture)
  const manifest = image.manifest ?? ''
  {
    await using _pin = await library.acquirePins([manifest])
    await using _again = await library.acquirePins([manifest])
    await library.destroy(owner, image.id)
    assert.deepEqual(await manifestsOf(library), [manifest])
    clock.at += 2000
    await step()
    await options.jobs.settled()
    assert.deepEqual(await manifestsOf(library), [manifest])
  }
  assert.deepEqual(await manifestsOf(library), [])
  const began = await options.generations.generation()
  await library.register(owner, REGISTER)
  await scripted.call(1)
  clock.at += 3600_000
  assert.equal((await library.operator.roots()).unclaimedSince, began)
})

test('pins: are given up a minute after their process was last heard of', async () => {
  await using fixture = await openLibrary()
  const { library, clock } = fixture
  await library.acquirePins(['aa'])
  const held = await library.acquirePins(['bb'])
  await held[Symbol.asyncDispose]()
  await held[Symbol.asyncDispose]()
  clock.at += 59_999
  assert.deepEqual(await manifestsOf(library), ['aa'])
  clock.at += 1
  assert.deepEqual(await manifestsOf(library), [])
})
