import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Tables } from '#control/catalog/catalog.ts'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import { joinWalks, listNames, type Walk, walkRows } from './listing.ts'
import type { ListQuery } from './orbit.ts'

/** Swift's rules, one name after another: slow and plain. */
function model(names: readonly string[], query: ListQuery): string[] {
  const { limit, marker = '', endMarker = '', reverse = false } = query
  const order = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other))
  const sorted = names.toSorted(order)
  if (reverse) sorted.reverse()
  const [above, below] = reverse ? [endMarker, marker] : [marker, endMarker]
  let prefix = query.prefix ?? ''
  if (query.path !== undefined) prefix = query.path === '' ? '' : `${query.path.replace(/\/+$/, '')}/`
  const delimiter = query.path === undefined ? (query.delimiter ?? '') : '/'
  const found: string[] = []
  for (const name of sorted) {
    if (above !== '' && order(name, above) <= 0) continue
    if (below !== '' && order(name, below) >= 0) continue
    if (!name.startsWith(prefix)) continue
    if (query.path !== undefined) {
      const rest = name.slice(prefix.length)
      if (rest === '' || /\/./s.test(rest)) continue
      found.push(name)
      continue
    }
    const end = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length)
    if (end < 0) found.push(name)
    else {
      const group = name.slice(0, end + delimiter.length)
      if (group !== above && found.at(-1) !== `${group} (group)`) found.push(`${group} (group)`)
    }
  }
  return found.slice(0, limit)
}

async function list(walk: Walk<{ readonly name: string }>, query: ListQuery): Promise<string[]> {
  const walked = await listNames(walk, query)
  return walked.map(({ group, row }) => (group === null ? row.name : `${group} (group)`))
}

async function addNames(tables: Tables, names: Iterable<string>): Promise<number> {
  const { id: accountId } = await tables.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
  const attributes = { metadata: {}, read: null, write: null, versions: null }
  const container = await tables.containers.insert({ accountId, name: 'c' }, attributes, 1)
  assert.ok(container)
  for (const name of names) await tables.objects.put(container, objectOf(name), undefined)
  return container.id
}

const objectOf = (name: string) => ({
  name,
  size: 0,
  md5: 'd41d8cd98f00b204e9800998ecf8427e',
  large: null,
  contentType: 'text/plain',
  headers: {},
  metadata: {},
  dynamicManifest: null,
  deleteAt: null,
  modifiedAt: 10,
  content: { kind: 'inline', bytes: new Uint8Array() } as const,
})

/** Few letters, so that names meet; neighbours of the delimiters, and two whose order UTF-16 turns around. */
const LETTERS = ['a', 'b', '/', '/', '-', '.', '0', '\u0001', 'é', '\uffff', '\u{1f600}', '\u{10ffff}']
const text = (minLength: number, maxLength: number) =>
  fc.array(fc.constantFrom(...LETTERS), { minLength, maxLength }).map((letters) => letters.join(''))
const QUERY: fc.Arbitrary<ListQuery> = fc.record(
  {
    limit: fc.oneof(fc.nat({ max: 5 }), fc.constant(10_000)),
    marker: text(0, 4),
    endMarker: text(0, 4),
    prefix: text(0, 3),
    delimiter: text(0, 3),
    path: text(0, 3),
    reverse: fc.boolean(),
  },
  { requiredKeys: ['limit'] },
)
const NAMES = fc.uniqueArray(text(1, 6), { maxLength: 30 })

test('listing: of the catalog, of a list and of both joined, is what Swift shows', async () => {
  await fc.assert(
    fc.asyncProperty(NAMES, fc.array(QUERY, { minLength: 5, maxLength: 20 }), async (names, queries) => {
      await using catalog = await openTestCatalog()
      const [few, rest] = [names.slice(0, 4), names.slice(4)]
      await catalog.transaction(async (tables) => {
        const id = await addNames(tables, rest)
        const stored: Walk<{ readonly name: string }> = (walk) => tables.objects.walk(id, walk)
        const listed = walkRows(few.map((name) => ({ name })))
        for (const query of queries) {
          assert.deepEqual(await list(stored, query), model(rest, query), 'of the catalog')
          assert.deepEqual(await list(listed, query), model(few, query), 'of a list')
          assert.deepEqual(await list(joinWalks(stored, listed), query), model(names, query), 'joined')
        }
      })
    }),
    { numRuns: 60 },
  )
})

test('listing: pages follow one another by marker, forwards and backwards, none lost and none twice', async () => {
  await using catalog = await openTestCatalog()
  await catalog.transaction(async (tables) => {
    const names = Array.from({ length: 60 }, (_, index) => `${index % 7}/${index % 3 ? `${index}/x` : index}`)
    const id = await addNames(tables, names)
    for (const query of [{ delimiter: '/' }, { delimiter: '/', prefix: '3/' }, { prefix: '2/' }, {}]) {
      for (const reverse of [false, true]) {
        const walk: Walk<{ readonly name: string }> = (range) => tables.objects.walk(id, range)
        const paged: string[] = []
        for (let marker = ''; ; ) {
          const page = await list(walk, { ...query, reverse, marker, limit: 4 })
          paged.push(...page)
          if (page.length < 4) break
          marker = page.at(-1)?.replace(' (group)', '') ?? ''
        }
        assert.deepEqual(paged, model(names, { ...query, reverse, limit: 10_000 }))
      }
    }
  })
})

test('listing: a path with more pseudo-directories than one step passes over is found in', async () => {
  await using catalog = await openTestCatalog()
  const names = Array.from({ length: 2500 }, (_, index) => `p/${String(index).padStart(4, '0')}/x`)
  await catalog.transaction(async (tables) => {
    const id = await addNames(tables, [...names, 'p/', 'p/!', 'p/2000', 'p/~', 'p/2000/'])
    const walk: Walk<{ readonly name: string }> = (range) => tables.objects.walk(id, range)
    for (const reverse of [false, true]) {
      const found = await list(walk, { path: 'p', limit: 10_000, reverse })
      assert.deepEqual(reverse ? found.reverse() : found, ['p/!', 'p/2000', 'p/2000/', 'p/~'])
    }
    assert.deepEqual(await list(walk, { path: 'p', limit: 2 }), ['p/!', 'p/2000'])
  })
})

test('listing: the last name that there can be belongs to its group and to its prefix', async () => {
  await using catalog = await openTestCatalog()
  const last = `a/${'\u{10ffff}'.repeat(255)}xx`
  assert.equal(Buffer.byteLength(last), 1024)
  await catalog.transaction(async (tables) => {
    const id = await addNames(tables, ['a/b', last, 'b'])
    const walk: Walk<{ readonly name: string }> = (range) => tables.objects.walk(id, range)
    assert.deepEqual(await list(walk, { limit: 9, delimiter: '/' }), ['a/ (group)', 'b'])
    assert.deepEqual(await list(walk, { limit: 9, prefix: 'a/' }), ['a/b', last])
    assert.deepEqual(await list(walk, { limit: 9, delimiter: '/', marker: 'a/' }), ['b'])
  })
})
