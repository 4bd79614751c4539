import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { INGESTED, MANIFEST, startApi } from '../../../test/support/api-server.ts'

const content = Buffer.from('the bytes of an image')
let closed = 0
let damaged = false
const logged: string[] = []
const server = await startApi({
  onLog: (line) => void logged.push(line),
  ingest: async () => INGESTED,
  openForm: async (manifest, kind) => ({
    kind,
    size: content.length,
    etag: `"${manifest.slice(0, 8)}-${kind}"`,
    contentType: 'application/octet-stream',
    fileSuffix: `.${kind}`,
    async *read(offset, length) {
      if (damaged) yield content.subarray(offset, offset + 4)
      if (damaged) throw new LibraryError('corrupt', 'read block 1234: its bytes have another digest')
      yield content.subarray(offset, offset + length)
    },
    async [Symbol.asyncDispose]() {
      closed++
    },
  }),
})
after(() => server[Symbol.asyncDispose]())

async function available(name: string) {
  const { body } = await server.call('POST', '/1.0/images', { arch: 'x86_64', http_url: 'http://h/d', name })
  await server.jobs.poll()
  await server.jobs.settled()
  return `${server.url}/1.0/images/${body.id}/download`
}
const get = (url: string, options: RequestInit = {}) =>
  fetch(url, { ...options, headers: { authorization: `Bearer ${server.token}`, ...options.headers } })

test('download: any form, with a name, a validator and the digest of the disk', async () => {
  const path = await available('Débian 12/x')
  for (const [query, kind] of [
    ['', 'lz4'],
    ['?format=raw', 'raw'],
    ['?format=qcow2', 'qcow2'],
  ]) {
    const response = await get(`${path}${query}`)
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('etag'), `"abababab-${kind}"`)
    assert.equal(response.headers.get('x-image-digest'), `sha256:${MANIFEST}`)
    assert.equal(
      response.headers.get('content-disposition'),
      `attachment; filename="D_bian_12_x.${kind}"; filename*=UTF-8''D%C3%A9bian%2012_x.${kind}`,
    )
    assert.equal(await response.text(), String(content))
  }
})

test('download: HEAD and ranges', async () => {
  const path = await available('x')
  const head = await get(path, { method: 'HEAD' })
  assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(content.length)])
  const range = await get(path, { headers: { range: 'bytes=4-8' } })
  assert.deepEqual([range.status, await range.text()], [206, 'bytes'])
})

test('download: whatever is opened is closed', async () => {
  const before = closed
  const path = await available('x')
  await (await get(path)).text()
  await get(path, { headers: { range: 'bytes=1000-' } })
  assert.equal(closed, before + 2)
})

test('download: an unknown form and an image without bytes are refused', async () => {
  assert.equal((await get(`${await available('x')}?format=vmdk`)).status, 422)
  const { body } = await server.call('POST', '/1.0/images', { arch: 'x86_64', upload: true })
  assert.equal((await get(`${server.url}/1.0/images/${body.id}/download`)).status, 409)
})

test('download: a damaged block breaks it off, and the log names image and block as an error', async () => {
  const path = await available('x')
  const image = /img-\w+/.exec(path)?.[0] ?? ''
  damaged = true
  try {
    await assert.rejects((await get(path)).arrayBuffer())
  } finally {
    damaged = false
  }
  const line = logged.map((text) => JSON.parse(text)).find(({ level }) => level === 50)
  assert.deepEqual(
    [line?.image, line?.err.message],
    [image, 'read block 1234: its bytes have another digest'],
  )
})
