import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { test } from 'node:test'
import { type Image, NEW_IMAGE, NO_PROVENANCE } from '#model/image.ts'
import { firstMatch, foldName, wordsOf } from '#model/image-words.ts'
import { KINDS, makePlace, onEach, type TestPlace } from '../../../test/support/catalogs.ts'
import { createDatabase } from '../../../test/support/postgres.ts'
import { needs } from '../../../test/support/tools.ts'
import { type Catalog, openCatalog, pendingMigrations } from './catalog.ts'
import { openSqlite } from './dialect-sqlite.ts'
import { toImageRow } from './image-rows.ts'
import { imagesTable } from './images.ts'
import { withPlans } from './plans.fixtures.ts'
import type { Row } from './row-lines.ts'

const IMAGE: Omit<Image, 'id' | 'accountId'> = {
  ...NEW_IMAGE,
  name: 'image',
  arch: 'x86_64',
  status: 'available',
  description: null,
  username: null,
  sourceType: 'upload',
  sourceTrigger: 'manual',
  source: null,
  minRam: null,
  public: false,
  compatibilityMode: false,
  licenceName: null,
  ancestorId: null,
  provenance: NO_PROVENANCE,
  progress: null,
  createdAt: 1,
  updatedAt: 1,
}

const STATUSES = 'creating available deprecated unavailable deleting deleted failed'.split(
  ' ',
) as Image['status'][]
const LIVING = STATUSES.filter((status) => status !== 'deleted')
const NAMES = 'a|A b|a a|ab a-b|b.a|B|\u{10ffff} a|é|e\u0301 b|% _|"\' \\|😀 a|ß|1.2 a1|'.split('|')
const LOOKED_FOR = ['a', 'A', 'b', 'a b', 'é', 'SS', '%', '_', '"', "'", '\u{10ffff}', '😀', '1.2', '2', 'x']

const addAccount = async (catalog: Catalog) =>
  (await catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })).id

const isListed = (image: Image, accountId: string) =>
  image.accountId === accountId ? image.status !== 'deleted' : image.public && image.status === 'available'

/** What is to be found, and in which order. */
const expectedOf = (images: readonly Image[], accountId: string, beginning: string): string[] =>
  images
    .filter((image) => isListed(image, accountId))
    .map(({ id, name }) => ({ id, words: firstMatch(name, beginning) }))
    .filter(({ words }) => words !== undefined)
    .map(({ id, words }) => ({ id, key: Buffer.from(`${words}\0${id}`) }))
    .sort((a, b) => Buffer.compare(a.key, b.key))
    .map(({ id }) => id)

async function search(catalog: Catalog, accountId: string, beginning: string, limit?: number) {
  const found: string[] = []
  for (let last = undefined as Image | undefined; ; ) {
    const words = last && firstMatch(last.name, beginning)
    const page = await catalog.images.listNamed(accountId, {
      beginning,
      ...(last && words !== undefined ? { after: { id: last.id, words } } : {}),
      ...(limit === undefined ? {} : { limit }),
    })
    found.push(...page.map(({ id }) => id))
    if (limit === undefined) return found
    assert.ok(page.length <= limit)
    last = page.at(-1)
    if (!last) return found
  }
}

onEach('search: finds exactly what is listed and named so, in order, whatever was changed', async (open) => {
  await using catalog = await open()
  const seed = Number(process.env.SEED ?? randomInt(2 ** 31))
  console.log(`# SEED=${seed}`)
  let state = seed
  const draw = (count: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff
    return (state >> 8) % count
  }
  const pick = <T>(values: readonly T[]): T => values[draw(values.length)] as T
  const accounts = [await addAccount(catalog), await addAccount(catalog)]
  const images = await catalog.transaction(async (tables) => {
    const made: Image[] = []
    for (let count = 0; count < 150; count++) {
      const [accountId, name] = [pick(accounts), pick(NAMES)]
      const status = draw(2) ? 'available' : pick(STATUSES)
      made.push(await tables.images.insert({ ...IMAGE, accountId, name, status, public: draw(2) === 0 }))
    }
    for (let count = 0; count < 100; count++) {
      const index = draw(made.length)
      const { id } = made[index] as Image
      const change = pick([
        { name: pick(NAMES) },
        { public: draw(2) === 0 },
        { status: pick(STATUSES) },
        { minRam: 5 },
      ])
      // What is deleted stays so.
      const changed = await tables.images.update(id, change, LIVING)
      if (changed) made[index] = changed
    }
    return made
  })
  for (const accountId of accounts)
    for (const text of LOOKED_FOR) {
      const beginning = foldName(text)
      const expected = expectedOf(images, accountId, beginning)
      assert.deepEqual(await search(catalog, accountId, beginning), expected, text)
      for (const limit of [1, 7])
        assert.deepEqual(await search(catalog, accountId, beginning, limit), expected)
    }
  const some = await catalog.images.listNamed(accounts[0] as string, { beginning: 'a', limit: 1 })
  assert.deepEqual(some, [await catalog.images.findShown(some[0]?.id ?? '')])
})

for (const kind of KINDS)
  test(
    `search: shows nothing that the image itself forbids, whatever is kept of its name (${kind})`,
    kind === 'postgres' ? needs('postgres') : {},
    async () => {
      await using made = await makePlace(kind)
      await using catalog = await openCatalog(made.place)
      const [owner, other] = [await addAccount(catalog), await addAccount(catalog)]
      const insert = (change: Partial<Image>) =>
        catalog.images.insert({ ...IMAGE, accountId: owner, ...change })
      await insert({ name: 'secret one' })
      await insert({ name: 'secret two', public: true, status: 'deprecated' })
      await insert({ name: 'secret three', public: true, status: 'deleted' })
      // As nothing of ours leaves them.
      await catalog.transaction(async ({ rows }) => {
        const kept = await Array.fromAsync(rows.read('images'))
        const names = kept.map(({ id }) => ({
          image_id: id ?? '',
          words: 'x secret',
          account_id: owner,
          open: 1,
        }))
        await rows.fill('image_names', () => fromArray(names))
      })
      assert.deepEqual(await search(catalog, other, 'x'), [])
      assert.equal((await search(catalog, owner, 'x')).length, 2)
    },
  )

async function* fromArray<T>(things: readonly T[]): AsyncGenerator<T> {
  yield* things
}

for (const kind of KINDS)
  test(
    `search: finds images that were there before there was a search (${kind})`,
    kind === 'postgres' ? needs('postgres') : {},
    async () => {
      await using made = kind === 'postgres' ? await emptyDatabase() : await makePlace(kind)
      const old = Array.from({ length: 2003 }, (_, index) => ({
        ...toImageRow({ ...IMAGE, name: `Old ${index}`, status: index % 2 ? 'available' : 'deleted' }),
        id: `img-${String(index).padStart(5, '0')}`,
      }))
      let accountId: string
      {
        await using catalog = await openCatalog({ ...made.place, upTo: '0010-fair-claims' })
        accountId = await addAccount(catalog)
        const rows = old.map((row) => ({ ...row, account_id: accountId }) as Row)
        await catalog.transaction((tables) => tables.rows.fill('images', () => fromArray(rows)))
      }
      assert.deepEqual(await pendingMigrations(made.place), [{ name: '0011-image-names', onlyAdds: false }])
      await using catalog = await openCatalog(made.place)
      assert.equal((await search(catalog, accountId, 'old')).length, 1001)
      assert.deepEqual(await search(catalog, accountId, '2001'), ['img-02001'])
      assert.deepEqual(await search(catalog, accountId, '2000'), [])
    },
  )

async function emptyDatabase(): Promise<TestPlace> {
  const { url, ...database } = await createDatabase({ empty: true })
  return { place: { url, connections: 3 }, ...database }
}

onEach('search: the longest names are kept, and found by all that may be asked for', async (open) => {
  await using catalog = await open()
  const accountId = await addAccount(catalog)
  for (const name of ['-a '.repeat(85), '\ufdfa'.repeat(255), '\ufdfa b '.repeat(60), '\u6f22'.repeat(255)]) {
    const { id } = await catalog.images.insert({ ...IMAGE, accountId, name })
    for (const words of wordsOf(name)) assert.deepEqual(await search(catalog, accountId, words), [id])
    await catalog.images.update(id, { name: 'short' }, ['available'])
    assert.deepEqual(await search(catalog, accountId, foldName(name.slice(0, 5))), [])
    await catalog.images.update(id, { status: 'deleted' }, ['available'])
  }
  assert.deepEqual(await Array.fromAsync(catalog.rows.read('image_names')), [])
})

test('search: reads a page off an index, and each of its images by its id', async () => {
  await withPlans(async (plansOf, db) => {
    const images = imagesTable({ db, dialect: openSqlite(':memory:'), random: randomBytes, touch() {} })
    const after = { words: 'ab', id: 'img-1' }
    for (const page of [{}, { limit: 50 }, { limit: 50, after }]) {
      const plan = (await plansOf(() => images.listNamed('a', { beginning: 'a', ...page }))).join('\n')
      assert.match(
        plan,
        /SEARCH n USING (COVERING )?INDEX image_names_own \(account_id=\? AND \(?words/,
        plan,
      )
      assert.match(plan, /SEARCH n USING (COVERING )?INDEX image_names_open \(\(?words/, plan)
      assert.doesNotMatch(plan, /SCAN (n|i|e|images|nested)\b/, plan)
    }
  })
})
