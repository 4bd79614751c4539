import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openSwift } from '../../../test/support/swift-server.ts'

const fixture = await openSwift()
after(() => fixture[Symbol.asyncDispose]())
const { ask } = fixture
// What these ask for would take minutes to hours where its cost grew by the square of its length.
const soon = { timeout: 30_000 }

test('hostile: the list of segments of who may not put is not even read', soon, async () => {
  const ofNobody = { token: null, headers: { Expect: '100-continue', 'Content-Length': '8000000' } }
  const path = '/c/static?multipart-manifest=put'
  assert.equal((await ask('PUT', path, ofNobody)).status, 401)
  assert.equal((await ask('PUT', path.replace('/c/', '/none/'), { body: 'no JSON' })).status, 404)
})

test('hostile: long data of a segment', soon, async () => {
  const body = JSON.stringify([{ path: '/c/o' }, { data: `${' '.repeat(4_000_000)}!` }])
  const { status, text } = await ask('PUT', '/c/static?multipart-manifest=put', { body })
  assert.deepEqual([status, text], [400, 'Index 1: data must be valid base64\n'])
})

test('hostile: ten thousand names of slashes', soon, async () => {
  const body = `c${'/'.repeat(3800)}o\n`.repeat(10_000)
  const headers = { 'Content-Type': 'text/plain' }
  assert.equal((await ask('POST', '?bulk-delete', { body, headers })).status, 200)
})

const putStatic = (name: string, entries: readonly object[]) =>
  ask('PUT', `/c/${name}?multipart-manifest=put`, { body: JSON.stringify(entries) })
const repeat = (times: number, entry: object) => Array.from({ length: times }, () => entry)

test('hostile: a static large object of the last bytes of large objects of many parts', soon, async () => {
  await ask('PUT', '/c/byte', { body: 'x' })
  await putStatic('thousand', repeat(1000, { path: '/c/byte' }))
  await putStatic('many', repeat(99, { path: '/c/thousand' }))
  for (const name of ['a', 'b', 'c', 'd'])
    await putStatic(name, [{ data: 'AAAA' }, ...repeat(999, { path: '/c/many', range: '-1' })])
  const all = ['a', 'b', 'c', 'd'].flatMap((name) => repeat(250, { path: `/c/${name}`, range: '-1' }))
  assert.equal((await putStatic('all', all)).status, 201)
  assert.equal((await ask('GET', '/c/all')).text, 'x'.repeat(1000))
})

test('hostile: others have their turns while thousands of small segments are sent', soon, async () => {
  let turns = 0
  const counting = setInterval(() => turns++)
  const { bytes } = await ask('GET', '/c/many')
  clearInterval(counting)
  assert.equal(bytes.length, 99_000)
  assert.ok(turns > 10, `${turns} turns`)
})

test('hostile: segments of any kind are counted', soon, async () => {
  const entries = [{ path: '/c/byte' }, ...repeat(10_000, { data: 'AAAA' })]
  const { status, text } = await putStatic('small', entries)
  assert.deepEqual([status, text], [413, 'Number of segments must be <= 10000'])
})
