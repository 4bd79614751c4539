import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { LibraryError } from '#base/errors.ts'
import { createLibrary } from './create-library.ts'
import type { LibraryOptions } from './deps.ts'
import { type LibraryFixture, openLibrary } from './library.fixtures.ts'
import { createUploadSeats } from './upload-seats.ts'

const never = { signal: new AbortController().signal }
const LARGE = 'x'.repeat(20_000)

async function* chunks(...texts: readonly string[]) {
  for (const text of texts) yield Buffer.from(text)
}

const registerUpload = ({ library, owner }: LibraryFixture) =>
  library.register(owner, { arch: 'x86_64', upload: true })

/** Another process on the same catalog, that runs no jobs. */
const another = (t: TestContext, { options }: LibraryFixture, change: Partial<LibraryOptions> = {}) => {
  const library = createLibrary({ ...options, works: { registrations: false, snapshots: false }, ...change })
  t.after(() => library[Symbol.asyncDispose]())
  return library
}

/** A part of an upload that begins, and goes on when it is told to. */
function heldBack(first: string, rest: string) {
  const begun = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  async function* bytes() {
    yield Buffer.from(first)
    begun.resolve()
    await goOn.promise
    yield Buffer.from(rest)
  }
  return { bytes: bytes(), begun: begun.promise, goOn: goOn.resolve }
}

test('upload: one process goes on where another one was', async (t) => {
  await using fixture = await openLibrary()
  const { library, owner, scripted, contents, options } = fixture
  const { id } = await registerUpload(fixture)
  await library.uploads.receive(owner, id, 0, chunks(LARGE), never)
  const other = another(t, fixture)
  assert.equal((await other.uploads.show(owner, id)).received, LARGE.length)
  await other.uploads.receive(owner, id, LARGE.length, chunks('end'), { ...never, total: LARGE.length + 3 })
  await options.jobs.poll()
  const { source } = (await scripted.call(0)).request
  assert.ok(source.kind === 'parts' && source.disk)
  assert.equal(contents.manifests.get(source.disk)?.toString(), `${LARGE}end`)
})

test('upload: of two processes that receive the same part one is refused, with where it goes on', async (t) => {
  await using fixture = await openLibrary()
  const { library, owner, scripted } = fixture
  const { id } = await registerUpload(fixture)
  const other = another(t, fixture)
  const slow = heldBack('slow', LARGE)
  const part = library.uploads.receive(owner, id, 0, slow.bytes, never)
  await slow.begun
  await other.uploads.receive(owner, id, 0, chunks('quick'), never)
  slow.goOn()
  await assert.rejects(part, { code: 'conflict', message: /goes on at offset 5$/ })
  assert.equal((await library.uploads.show(owner, id)).received, 5)
  await other.uploads.finish(owner, id)
  const { source } = (await scripted.call(0)).request
  assert.ok(source.kind === 'parts')
  const [part0] = source.parts
  assert.ok(part0?.content?.kind === 'inline')
  assert.equal(Buffer.from(part0.content.bytes).toString(), 'quick')
})

test('upload: one that another process finished or destroyed takes no more', async (t) => {
  for (const way of ['finish', 'destroy'] as const) {
    await using fixture = await openLibrary()
    const { library, owner } = fixture
    const { id } = await registerUpload(fixture)
    const other = another(t, fixture)
    await library.uploads.receive(owner, id, 0, chunks('one'), never)
    const slow = heldBack('two', 'three')
    const part = library.uploads.receive(owner, id, 3, slow.bytes, never)
    await slow.begun
    if (way === 'finish') await other.uploads.finish(owner, id)
    else await other.destroy(owner, id)
    slow.goOn()
    await assert.rejects(part, { code: 'conflict', message: /waits for no upload/ })
  }
})

test('upload: a silent part ends soon after another process destroyed the image', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  await using fixture = await openLibrary()
  const { library, owner, contents } = fixture
  const { id } = await registerUpload(fixture)
  const silent = heldBack('x', '')
  const part = assert.rejects(library.uploads.receive(owner, id, 0, silent.bytes, never), {
    code: 'conflict',
    message: /waits for no upload any more/,
  })
  await silent.begun
  await another(t, fixture).destroy(owner, id)
  t.mock.timers.tick(20_000)
  await part
  assert.equal(contents.open, 0)
})

test('upload: what came is kept from collection from part to part, until its registration has ended', async () => {
  await using fixture = await openLibrary()
  const { library, owner, scripted, options, contents } = fixture
  const { id } = await registerUpload(fixture)
  const roots = async () => new Set(await Array.fromAsync((await library.operator.roots()).manifests()))
  const manifestOf = (text: string) =>
    [...contents.manifests].find(([, bytes]) => bytes.toString() === text)?.[0] ?? 'none'
  await library.uploads.receive(owner, id, 0, chunks('x'), never)
  assert.deepEqual(await roots(), new Set())
  await library.uploads.receive(owner, id, 1, chunks(LARGE), never)
  assert.deepEqual(await roots(), new Set([manifestOf(`x${LARGE}`)]))
  await library.uploads.receive(owner, id, LARGE.length + 1, chunks('y'), never)
  assert.deepEqual(await roots(), new Set([manifestOf(`x${LARGE}y`)]))
  await library.uploads.finish(owner, id)
  assert.deepEqual(await roots(), new Set([manifestOf(`x${LARGE}y`)]))
  ;(await scripted.call(0)).succeed()
  await options.jobs.settled()
  assert.deepEqual(await roots(), new Set(['ab'.repeat(32)]))
})

test('upload: what was said to have come is on stable storage, first in the store, then in the catalog', async () => {
  await using fixture = await openLibrary()
  const { owner, options, contents } = fixture
  const { id } = await registerUpload(fixture)
  const calls: string[] = []
  const { catalog } = options
  const library = createLibrary({
    ...options,
    works: { registrations: false, snapshots: false },
    catalog: {
      ...catalog,
      transaction: async (change) => {
        const result = await catalog.transaction(change)
        calls.push('transaction')
        return result
      },
    },
    async openEditor(base, { signal, unsummed }) {
      assert.equal(unsummed, true)
      const editor = await contents.openEditor(base, { signal })
      const store = async () => {
        calls.push('store')
        return editor.store()
      }
      return Object.create(editor, { store: { value: store } })
    },
  })
  await library.uploads.receive(owner, id, 0, chunks('one'), never)
  assert.deepEqual(calls, ['store', 'transaction'])
  async function* breaking() {
    yield Buffer.from('two')
    throw new LibraryError('unavailable', 'the client went away')
  }
  await assert.rejects(library.uploads.receive(owner, id, 3, breaking(), never), /the client went away/)
  assert.deepEqual(calls, ['store', 'transaction', 'store', 'transaction'])
  assert.equal((await library.uploads.show(owner, id)).received, 6)
  await library[Symbol.asyncDispose]()
})

test('upload: a store that refuses is told as such, and what was kept is gone on from', async () => {
  let fails: 'open' | 'write' | 'store' | undefined
  const refuse = (when: typeof fails) => {
    if (when === fails) throw new LibraryError('unavailable', 'write a block')
  }
  await using fixture = await openLibrary({
    async openEditor(base, { signal }) {
      refuse('open')
      const editor = await fixture.contents.openEditor(base, { signal })
      const write = async (offset: number, chunk: Uint8Array) => {
        refuse('write')
        await editor.write(offset, chunk)
      }
      const store = async () => {
        refuse('store')
        return editor.store()
      }
      return Object.create(editor, { write: { value: write }, store: { value: store } })
    },
  })
  const { library, owner, contents } = fixture
  const { id } = await registerUpload(fixture)
  await library.uploads.receive(owner, id, 0, chunks('one'), never)
  for (fails of ['open', 'write', 'store'] as const) {
    await assert.rejects(library.uploads.receive(owner, id, 3, chunks('two'), never), { code: 'unavailable' })
    assert.equal((await library.uploads.show(owner, id)).received, 3)
  }
  fails = undefined
  assert.equal((await library.uploads.receive(owner, id, 3, chunks('two'), never)).received, 6)
  assert.equal(contents.open, 0)
})

test('upload: as many are under way as there are places, and an account leaves some to others', async () => {
  await using fixture = await openLibrary({ seats: createUploadSeats(4) })
  const { library, owner, other } = fixture
  const parts: { goOn(): void; received: Promise<unknown> }[] = []
  const begin = async (session: typeof owner) => {
    const { id } = await library.register(session, { arch: 'x86_64', upload: true })
    const part = heldBack('x', 'y')
    parts.push({ ...part, received: library.uploads.receive(session, id, 0, part.bytes, never) })
    await part.begun
  }
  await begin(owner)
  await begin(owner)
  const third = await registerUpload(fixture)
  await assert.rejects(library.uploads.receive(owner, third.id, 0, chunks('x'), never), {
    code: 'unavailable',
    message: 'too many uploads are under way',
  })
  await begin(other)
  for (const { goOn, received } of parts) {
    goOn()
    await received
  }
  await turn()
  await library.uploads.receive(owner, third.id, 0, chunks('x'), never)
})
