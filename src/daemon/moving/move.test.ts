import assert from 'node:assert/strict'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { type Catalog, openCatalog } from '#control/catalog/catalog.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { openWorld, temporaryFolder, type World } from '../../../test/support/moving.ts'
import { createDatabase } from '../../../test/support/postgres.ts'
import { createS3Place, KEYS, RADOSGW } from '../../../test/support/radosgw.ts'
import { needs } from '../../../test/support/tools.ts'
import { demandAtHome } from '../at-home.ts'
import { type Flags, readConfig } from '../config.ts'
import { catalogPath } from '../data-folder.ts'
import { cancelMove, type MoveOptions, type MoveStep, move } from './move.ts'

const never = new AbortController().signal

/** Moves, and gives the steps that were told of. */
async function moveTo(from: Flags, to: Flags, more: Partial<MoveOptions> = {}): Promise<MoveStep[]> {
  const steps: MoveStep[] = []
  await move({
    ...{ from: readConfig(from), to: readConfig(to), name: to.data ?? '', holder: 'move', prepare: false },
    onStep: (step) => steps.push(step),
    onProgress: () => {},
    signal: never,
    ...more,
  })
  return steps
}

const kindsOf = (steps: readonly MoveStep[]) => steps.map(({ kind }) => kind)

async function inFolder() {
  const folder = await temporaryFolder()
  const at = (name: string) => join(folder.path, name)
  return { at, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

const HAS_MOVED = { code: 'unavailable', message: /has moved/ }

/** A change that a library makes all the time. */
const change = (world: World) => world.catalog.settings.set('check', 'x')

async function assertLeft(flags: Flags, to: string): Promise<void> {
  await using world = await openWorld(flags)
  await assert.rejects(change(world), HAS_MOVED)
  await assert.rejects(demandAtHome(world.catalog), { code: 'conflict', message: new RegExp(to) })
}

test('move: all is in the new place, and the old one refuses changes and says where it went', async () => {
  await using folder = await inFolder()
  const [from, to] = [{ data: folder.at('old') }, { data: folder.at('new') }]
  let contents: unknown
  {
    await using world = await openWorld(from)
    for (let seed = 1; seed <= 5; seed++) await world.addImage(seed)
    contents = await world.contents()
    const now = Date.now()
    const { accountId } = world
    await world.catalog.transaction(({ jobs }) =>
      jobs.insert({
        ...{ kind: 'removal', subject: 'img-00001', accountId, payload: {} },
        createdAt: now,
        runAt: now,
      }),
    )
    await mkdir(join(folder.at('old'), 'ssh'))
    await writeFile(join(folder.at('old'), 'ssh', 'ssh_host_ed25519_key'), 'a key')
    // It runs all the time.
    assert.deepEqual(kindsOf(await moveTo(from, to)), ['pass', 'standing still', 'moved'])
    await assert.rejects(change(world), HAS_MOVED)
    assert.deepEqual(await world.contents(), contents, 'it can still be read')
  }
  await assertLeft(from, folder.at('new'))
  assert.equal(await readFile(join(folder.at('new'), 'ssh', 'ssh_host_ed25519_key'), 'utf8'), 'a key')
  assert.deepEqual(kindsOf(await moveTo(from, to)), ['had moved'])
  await using moved = await openWorld(to)
  await demandAtHome(moved.catalog)
  assert.deepEqual(await moved.contents(), contents)
  assert.notEqual(await moved.catalog.jobs.find('removal', 'img-00001'), undefined)
  await moved.addImage(6)
  await assert.rejects(moveTo(from, to), { code: 'conflict', message: /a library in it already/ })
})

test(
  'move: from SQLite and files to PostgreSQL and S3, and back',
  needs('postgres', ...RADOSGW),
  async () => {
    process.env.AWS_ACCESS_KEY_ID = KEYS.accessKeyId
    process.env.AWS_SECRET_ACCESS_KEY = KEYS.secretAccessKey
    await using folder = await inFolder()
    await using database = await createDatabase({ empty: true })
    const { endpoint, bucket, prefix, region } = await createS3Place()
    const store = `s3://${bucket}/${prefix}?endpoint=${endpoint}&region=${region}`
    const old = { data: folder.at('old') }
    const large = { data: folder.at('old'), catalog: database.url, store }
    let contents: unknown
    {
      await using world = await openWorld(old)
      for (let seed = 1; seed <= 4; seed++) await world.addImage(seed)
      contents = await world.contents()
    }
    await moveTo(old, large)
    {
      await using world = await openWorld(large)
      assert.deepEqual(await world.contents(), contents)
      await world.addImage(9)
      contents = await world.contents()
    }
    await moveTo(large, { data: folder.at('new') })
    await assertLeft(large, folder.at('new'))
    await using world = await openWorld({ data: folder.at('new') })
    assert.deepEqual(await world.contents(), contents)
  },
)

test('move: what comes while it is prepared comes along, and each pass has less to copy', async () => {
  await using folder = await inFolder()
  const [from, to] = [{ data: folder.at('old') }, { data: folder.at('new') }]
  await using world = await openWorld(from)
  for (let seed = 1; seed <= 6; seed++) await world.addImage(seed)
  const first = await moveTo(from, to, { prepare: true })
  await change(world)
  await world.addImage(7)
  const last = await moveTo(from, to)
  const copied = [...first, ...last].map((step) => ('report' in step ? step.report.blocks : undefined))
  assert.ok((copied[0] ?? 0) > 3 && (copied[1] ?? 9) <= 3 && copied.at(-1) === 0, `${copied}`)
  const contents = await world.contents()
  await using moved = await openWorld(to)
  assert.deepEqual(await moved.contents(), contents)
})

test('move: ended anywhere it goes on where it was, and nobody uses either place by halves', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 32)
  t.diagnostic(`seed ${seed}`)
  const random = createRandom(seed)
  await using folder = await inFolder()
  const [from, to] = [{ data: folder.at('old') }, { data: folder.at('new') }]
  await using world = await openWorld(from)
  for (let image = 1; image <= 6; image++) await world.addImage(seed + image)
  const ended = new LibraryError('unavailable', 'ended')
  for (let round = 0; round < 4; round++) {
    const ending = new AbortController()
    let left = random.below(8)
    const mayGoOn = () => {
      if (left-- <= 0) ending.abort(ended)
      ending.signal.throwIfAborted()
    }
    await moveTo(from, to, { signal: ending.signal, onProgress: mayGoOn, onStep: mayGoOn }).catch((error) =>
      assert.equal(error, ended, `seed ${seed}`),
    )
    // As soon as either can be used, the other cannot.
    const isAtHome = (catalog: Catalog) =>
      demandAtHome(catalog).then(
        () => true,
        () => false,
      )
    await using half = await openCatalog({ path: catalogPath(folder.at('new')) })
    const isNewUsed = !(await half.rows.isEmpty()) && (await isAtHome(half))
    const isOldUsed = await isAtHome(world.catalog)
    assert.ok(!(isNewUsed && isOldUsed), `seed ${seed}, round ${round}`)
    if (isNewUsed) break
  }
  await moveTo(from, to)
  await using moved = await openWorld(to)
  assert.deepEqual(await moved.contents(), await world.contents())
})

test('move: one that cannot come to its end is taken back', async () => {
  await using folder = await inFolder()
  const [from, to] = [{ data: folder.at('old') }, { data: folder.at('new') }]
  await using world = await openWorld(from)
  await world.addImage(1)
  const full = new LibraryError('unavailable', 'the new disk is full')
  const onStep = ({ kind }: MoveStep) => {
    if (kind === 'standing still') throw full
  }
  await assert.rejects(moveTo(from, to, { onStep }), full)
  await assert.rejects(change(world), HAS_MOVED)
  await cancelMove({ from: readConfig(from), to: readConfig(to) })
  await change(world)
  await demandAtHome(world.catalog)
  await moveTo(from, to)
  await assert.rejects(cancelMove({ from: readConfig(from), to: readConfig(to) }), { code: 'conflict' })
})

test('move: only to an empty place, and to another catalog', async () => {
  await using folder = await inFolder()
  const from = { data: folder.at('old') }
  await assert.rejects(moveTo(from, { data: folder.at('new') }), { code: 'not_found' })
  await using world = await openWorld(from)
  await world.addImage(1)
  await assert.rejects(moveTo(from, from), { code: 'invalid' })
  await using other = await openWorld({ data: folder.at('other') })
  await other.addImage(2)
  await assert.rejects(moveTo(from, { data: folder.at('other') }), { code: 'conflict' })
  await rm(join(folder.at('other'), 'catalog.sqlite'))
  await change(world)
})

test('move: what is damaged is named, and the sound part of it goes along', async () => {
  await using folder = await inFolder()
  const [from, to] = [{ data: folder.at('old') }, { data: folder.at('new') }]
  await using world = await openWorld(from)
  const id = await world.addImage(1)
  await world.addImage(2)
  const { digest = '' } = (await Array.fromAsync(world.store.blocks.list()))[0] ?? {}
  await rm(join(folder.at('old'), 'store/blocks', digest.slice(0, 2), digest))
  const steps = await moveTo(from, to)
  const found = steps.flatMap((step) => ('report' in step ? step.report.missing : []))
  assert.deepEqual([...new Set(found.map((finding) => finding.digest))], [digest])
  await using moved = await openWorld(to)
  const manifest = (await moved.catalog.images.find(id))?.manifest ?? ''
  assert.notEqual(await moved.store.manifests.sizeOf(manifest), undefined)
})
