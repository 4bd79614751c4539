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
