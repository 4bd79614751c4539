import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { after, test } from 'node:test'
import type { Orbit } from '#control/orbit/orbit.ts'
import { openSwift } from '../../../test/support/swift-server.ts'

const fixture = await openSwift()
after(() => fixture[Symbol.asyncDispose]())
const { ask, account, auth, logIn } = fixture

interface Report {
  'Number Deleted': number
  'Number Not Found': number
  'Response Status': string
  'Response Body': string
  Errors: [string, string][]
}

const TEXT = { 'Content-Type': 'text/plain' }
const JSON_PLEASE = { ...TEXT, Accept: 'application/json' }

async function bulk(lines: string | Uint8Array, token?: string | null): Promise<Report> {
  const options = token === undefined ? {} : { token }
  const answer = await ask('POST', '?bulk-delete', { headers: JSON_PLEASE, body: lines, ...options })
  assert.deepEqual([answer.status, answer.headers['content-type']], [200, 'application/json'])
  return JSON.parse(answer.text)
}

const make = async (container: string, ...objects: string[]) => {
  await ask('PUT', `/${container}`)
  for (const object of objects)
    assert.equal((await ask('PUT', `/${container}/${encodeURIComponent(object)}`, { body: 'x' })).status, 201)
}

test('bulk delete: objects first, then containers; what is not there is counted', async () => {
  await make('bd', 'a', 'b/c', 'größe 語', '%41', ' spaced ')
  const lines = [
    '/bd',
    '/bd/a',
    'bd/b/c',
    'bd/gr%C3%B6%C3%9Fe%20%E8%AA%9E',
    'bd/%2541',
    '/bd/none',
    '',
    '/none',
  ]
  const report = await bulk(`${lines.join('\n')}\r\nbd/%20spaced%20\n`)
  assert.deepEqual(report, {
    'Number Deleted': 6,
    'Number Not Found': 2,
    'Response Status': '200 OK',
    'Response Body': '',
    Errors: [],
  })
  assert.equal((await ask('HEAD', '/bd')).status, 404)
})

test('bulk delete: as text and XML, with POST and DELETE, whatever the value of the parameter', async () => {
  await make('full', 'x')
  const body = '/full\n/full/<&>'
  const length = { 'Content-Length': String(body.length) }
  const text = await ask('DELETE', '?bulk-delete=true', { headers: { ...TEXT, ...length }, body })
  assert.equal(text.headers['content-type'], 'text/plain')
  assert.equal(
    text.text,
    'Number Deleted: 0\nNumber Not Found: 1\nResponse Body: \nResponse Status: 400 Bad Request\n' +
      'Errors:\n/full, 409 Conflict\n',
  )
  const xml = await ask('POST', '?bulk-delete', { headers: { ...TEXT, Accept: 'text/xml' }, body: '/full' })
  assert.equal(
    xml.text,
    '<?xml version="1.0" encoding="UTF-8"?>\n<delete>\n<number_deleted>0</number_deleted>\n' +
      '<number_not_found>0</number_not_found>\n<response_body></response_body>\n' +
      '<response_status>400 Bad Request</response_status>\n<errors>\n' +
      '<object><name>/full</name><status>409 Conflict</status></object>\n</errors>\n</delete>\n',
  )
})

test('bulk delete: a list that is none is told so in the report', async () => {
  assert.deepEqual(await bulk(''), {
    'Number Deleted': 0,
    'Number Not Found': 0,
    'Response Status': '400 Bad Request',
    'Response Body': 'Invalid bulk delete.',
    Errors: [],
  })
  assert.equal((await bulk('\n \n\r\n'))['Response Body'], 'Invalid bulk delete.')
  const type = { ...JSON_PLEASE, 'Content-Type': 'application/json' }
  const other = await ask('POST', '?bulk-delete', { headers: type, body: '["/c/o"]' })
  assert.equal(other.status, 200)
  assert.equal((JSON.parse(other.text) as Report)['Response Status'], '406 Not Acceptable')
  const long = await bulk(`/c/${'x'.repeat(4000)}`)
  assert.deepEqual([long['Response Status'], long['Response Body']], ['400 Bad Request', 'Invalid File Name'])
  const endless = await bulk('x'.repeat(300_000))
  assert.equal(endless['Response Body'], 'Invalid File Name')
})

test('bulk delete: more than ten thousand names are refused before one is removed', async () => {
  await make('many', 'kept')
  const report = await bulk(`/many/kept\n${'/many/x\n'.repeat(10_000)}`)
  assert.deepEqual(report, {
    'Number Deleted': 0,
    'Number Not Found': 0,
    'Response Status': '413 Payload Too Large',
    'Response Body': 'Maximum Bulk Deletes: 10000 per request',
    Errors: [],
  })
  assert.equal((await ask('HEAD', '/many/kept')).status, 200)
})

test('bulk delete: names that cannot be are errors of their own', async () => {
  const report = await bulk(Buffer.from('/c/%FF\n/c/a%00b\n/c/\xe9\n', 'latin1'))
  assert.deepEqual(report.Errors, [
    ['/c/%FF', '412 Precondition Failed'],
    ['/c/a%00b', '412 Precondition Failed'],
    ['/c/\xe9', '412 Precondition Failed'],
  ])
  assert.equal(report['Response Status'], '400 Bad Request')
})

test('bulk delete: who may not is told for each name, and ends after a thousand', async () => {
  await make('mine', 'x')
  const anybody = await bulk('/mine/x\n/mine\n/none/x', null)
  assert.deepEqual(anybody.Errors, [
    ['/mine/x', '401 Unauthorized'],
    ['/none/x', '401 Unauthorized'],
    ['/mine', '401 Unauthorized'],
  ])
  const { client, secret } = await auth.operator.createClient(account, { permissions: 'storage' })
  const token = await logIn({ id: client.id, secret })
  const storage = await bulk(`${'/mine/x\n'.repeat(2000)}`, token)
  assert.equal(storage.Errors.length, 1000)
  assert.deepEqual(storage.Errors[0], ['/mine/x', '403 Forbidden'])
  assert.equal(storage['Response Body'], 'Max delete failures exceeded')
  await ask('POST', '/mine', { headers: { 'X-Container-Write': `${account}:${client.id}` } })
  assert.equal((await bulk('/mine/x', token))['Number Deleted'], 1)
})

test('bulk delete: a client that waits to be asked for the body is; one that says no length is refused', async () => {
  const head = (extra: string) =>
    `POST /v1/${account}?bulk-delete HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${fixture.token}\r\n` +
    `Content-Type: text/plain\r\nConnection: close\r\n${extra}\r\n`
  const asked = await fixture.send(`${head('Content-Length: 7\r\nExpect: 100-continue\r\n')}/c/none`)
  assert.match(asked, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200/)
  assert.match(asked, /Number Not Found: 1/)
  assert.match(await fixture.send(head('')), /Response Status: 411 Length Required/)
})

test('bulk delete: a client that has to wait is told that work goes on', async (t) => {
  const removed = Promise.withResolvers<void>()
  const remove = () => {
    t.mock.timers.tick(10_000)
    return removed.promise
  }
  const orbit = { objects: { remove } } as unknown as Orbit
  await using slow = await openSwift({ deps: { orbit } })
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { port, token } = slow
  const headers = { 'X-Auth-Token': token, 'Content-Type': 'text/plain', Accept: 'application/json' }
  const sent = request({ port, method: 'POST', path: `/v1/${slow.account}?bulk-delete`, headers })
  sent.end('/c/o')
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  removed.resolve()
  const report = await text(response)
  assert.match(report, /^ \r\n\r\n\{"Number Deleted":1/)
})
