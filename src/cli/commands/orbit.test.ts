import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { answerJson, fakeImage, startFakeApi } from '../../../test/support/fake-api.ts'
import { type FakeObject, md5 } from '../../../test/support/fake-orbit.ts'
import { clientSection, openCli } from '../../../test/support/run-cli.ts'

const MiB = 1024 * 1024

async function open(extra = 'default_account = acc-12345\n') {
  const api = await startFakeApi()
  const cli = await openCli(clientSection(api.url, extra))
  const { orbit } = api
  const file = (name: string) => join(cli.folder, name)
  const objects = (container: string) => orbit.containers.get(container)?.objects ?? new Map()
  const fill = (container: string, entries: Record<string, FakeObject | string>) => {
    const made = Object.entries(entries).map(([name, value]): [string, FakeObject] => [
      name,
      typeof value === 'string' ? { bytes: Buffer.from(value), headers: {} } : value,
    ])
    orbit.containers.set(container, { headers: {}, objects: new Map(made) })
  }
  const close = async () => {
    await cli[Symbol.asyncDispose]()
    await api[Symbol.asyncDispose]()
  }
  return { api, orbit, cli, file, objects, fill, [Symbol.asyncDispose]: close }
}

test('orbit containers: lists them, also as plain "orbit", page by page', async () => {
  await using at = await open()
  for (const name of ['a', 'b', 'c']) at.fill(name, { x: 'x' })
  const { out, err, code } = await at.cli.run('-s', 'orbit')
  assert.deepEqual([err, code], ['', 0])
  assert.equal(out, ['a', 'b', 'c'].map((name) => `${name}\t1\t7\t2022-01-02T03:04Z\n`).join(''))
  assert.equal(JSON.parse((await at.cli.run('orbit', 'containers', '--json')).out).length, 3)
})

test('orbit: a word that is no subcommand is named with those there are', async () => {
  await using at = await open()
  const { err, code } = await at.cli.run('orbit', 'frobnicate')
  assert.equal(err, "ERROR: Unknown command 'frobnicate'\nHINT: containers, ls, put, get, rm or tempurl\n")
  assert.equal(code, 1)
})

test('orbit: without a default account the library is asked for ours; a dead token is renewed', async () => {
  await using at = await open('')
  at.fill('a', {})
  await writeFile(at.file('cli-12345.oauth_token'), 'old-token')
  const { out, code } = await at.cli.run('-s', 'orbit', 'containers')
  assert.deepEqual([out, code], ['a\t1\t7\t2022-01-02T03:04Z\n'.replace('1', '0'), 0])
  assert.ok(at.api.lines.some((line) => line.startsWith('GET /1.0/account?')))
})

test('orbit: orbit_url of the configuration says where objects are', async () => {
  await using other = await startFakeApi()
  await using at = await open(`default_account = acc-12345\norbit_url = ${other.url}\n`)
  other.orbit.containers.set('there', { headers: {}, objects: new Map() })
  assert.match((await at.cli.run('-s', 'orbit')).out, /^there\t/)
  assert.deepEqual(at.orbit.seen, [])
})

test('orbit ls: names, sizes and types; a prefix goes to Orbit; a missing container is named', async () => {
  await using at = await open()
  at.fill('c', { 'a b': 'one', 'dir/é': 'four', 'dir/z': '' })
  const { out } = await at.cli.run('-s', 'orbit', 'ls', 'c')
  assert.equal(out.split('\n')[2], 'dir/é\t4\tapplication/octet-stream\t2022-01-02T03:04Z')
  assert.equal((await at.cli.run('-s', 'orbit', 'ls', 'c', 'dir/')).out.split('\n').length, 3)
  await at.cli.run('-s', 'orbit', 'ls', 'c/dir/', '-d', '/')
  assert.ok(at.orbit.seen.includes('GET c format=json&prefix=dir%2F&delimiter=%2F'))
  const { err, code } = await at.cli.run('orbit', 'ls', 'nowhere')
  assert.match(err, /^ERROR: list container nowhere: there is no such container\nHINT: brightbox orbit /)
  assert.equal(code, 1)
})

test('orbit put: a small file goes whole, with its MD5 and time, and makes its container', async () => {
  await using at = await open()
  await writeFile(at.file('a b.txt'), 'hello')
  await utimes(at.file('a b.txt'), 1000, 1234.5)
  const { out, err, code } = await at.cli.run('orbit', 'put', 'a b.txt', 'new', '--json')
  assert.equal(code, 0, err)
  assert.deepEqual(JSON.parse(out), { container: 'new', name: 'a b.txt', bytes: 5, hash: md5('hello') })
  assert.match(err, /\nUploaded a b\.txt to new\/a b\.txt: 5 B, .*\/s\n$/)
  const object = at.objects('new').get('a b.txt')
  assert.equal(String(object?.bytes), 'hello')
  assert.deepEqual(object?.headers, { 'x-object-meta-mtime': '1234.500000' })
})

test('orbit put: a name is taken as it is, one with a slash at its end is put before the own one', async () => {
  await using at = await open()
  await writeFile(at.file('f'), '')
  for (const where of ['c/other', 'c/dir/'])
    assert.equal((await at.cli.run('orbit', 'put', 'f', where)).code, 0)
  assert.deepEqual([...at.objects('c').keys()], ['other', 'dir/f'])
})

test('orbit put: a large file goes in segments that are joined by a static manifest', async () => {
  await using at = await open()
  const bytes = randomBytes(2 * MiB + 5)
  await writeFile(at.file('disk'), bytes)
  await utimes(at.file('disk'), 1000, 1000)
  const { err, code } = await at.cli.run('orbit', 'put', 'disk', 'c/d', '--segment-size', '1')
  assert.equal(code, 0, err)
  const names = [0, 1, 2].map((index) => `d/slo/1000.000000/${bytes.length}/${MiB}/0000000${index}`)
  assert.deepEqual([...at.objects('c_segments').keys()], names)
  assert.deepEqual(
    at.objects('c').get('d')?.segments,
    names.map((name) => `/c_segments/${name}`),
  )
  const parts = names.map((name) => at.objects('c_segments').get(name)?.bytes)
  assert.ok(Buffer.concat(parts as Buffer[]).equals(bytes))
})

test('orbit put: an upload that broke off for good goes on with what is missing', async () => {
  await using at = await open()
  const bytes = randomBytes(4 * MiB)
  await writeFile(at.file('disk'), bytes)
  const line = ['orbit', 'put', 'disk', 'c', '--segment-size', '1']
  at.orbit.cuts.push(-1, -1, ...Array(7).fill(1000))
  const first = await at.cli.run(...line)
  assert.equal(first.code, 1)
  assert.match(first.err, /\nERROR: upload disk: cannot reach /)
  // What lies there under the name of a segment but is another one does not count.
  const [name = ''] = at.objects('c_segments').keys()
  at.objects('c_segments').set(name, { bytes: randomBytes(MiB), headers: {} })
  at.orbit.seen.length = 0
  assert.equal((await at.cli.run(...line)).code, 0)
  const sent = at.orbit.seen.filter((request) => request.startsWith('PUT c_segments/'))
  assert.deepEqual(
    sent.map((request) => request.slice(-1)),
    ['0', '2', '3'],
  )
})

test('orbit put: segments of the version before are removed once the new one is there', async () => {
  await using at = await open()
  const line = ['orbit', 'put', 'disk', 'c', '--segment-size', '1']
  await writeFile(at.file('disk'), randomBytes(3 * MiB))
  await at.cli.run(...line)
  await writeFile(at.file('disk'), randomBytes(2 * MiB))
  await at.cli.run(...line)
  assert.equal(at.objects('c_segments').size, 2)
  await at.cli.run(...line)
  assert.equal(at.objects('c_segments').size, 2)
  await writeFile(at.file('disk'), 'small')
  await at.cli.run(...line)
  assert.equal(at.objects('c_segments').size, 0)
})

test('orbit put: what cannot be sent is refused with the reason', async () => {
  await using at = await open()
  await writeFile(at.file('f'), 'x')
  const refusal = async (...args: string[]) => (await at.cli.run('orbit', 'put', ...args)).err.split('\n')[0]
  assert.equal(await refusal('f'), 'ERROR: You must specify a file and a container')
  assert.equal(await refusal('nothing', 'c'), 'ERROR: read nothing: no such file or folder')
  assert.equal(await refusal('.', 'c'), 'ERROR: read .: it is not a regular file')
  assert.equal(await refusal('f', '/x'), "ERROR: '/x' names no container")
  assert.equal(await refusal('f', 'c', '--segment-size', '0'), 'ERROR: segment-size must be at least 1 MiB')
  assert.match(String(await refusal('f', 'c/../x')), /^ERROR: c\/\.\.\/x: a URL cannot name/)
  at.orbit.containers.clear()
  at.api.onRaw('PUT /v1/acc-12345/c/f', (request, response) => {
    request.resume()
    response.writeHead(413, { 'Content-Type': 'text/html' }).end('<html><p>Upload exceeds quota.</p></html>')
  })
  const { err, code } = await at.cli.run('orbit', 'put', 'f', 'c')
  assert.match(err, /ERROR: upload f: Upload exceeds quota\nHINT: remove what is no longer needed/)
  assert.equal(code, 1)
})

test('orbit get: takes up a dropped connection, checks the MD5 and leaves only the file', async () => {
  await using at = await open()
  const bytes = randomBytes(3_000_000)
  at.fill('c', { 'dir/f': { bytes, headers: {} } })
  at.orbit.cuts.push(1_000_000)
  const { err, code } = await at.cli.run('orbit', 'get', 'c/dir/f')
  assert.equal(code, 0, err)
  assert.ok((await readFile(at.file('f'))).equals(bytes))
  assert.deepEqual(at.orbit.seen, ['GET c/dir/f', `GET c/dir/f bytes=1000000- ${md5(bytes)}`])
  assert.deepEqual(
    (await readdir(at.cli.folder)).filter((name) => name.includes('part')),
    [],
  )
})

test('orbit get: a later run goes on where one was cut off, or anew when the object is another', async () => {
  await using at = await open()
  const bytes = randomBytes(2_000_000)
  at.fill('c', { f: { bytes, headers: {} } })
  at.orbit.cuts.push(700_000, 0, 0, 0, 0, 0, 0, 0)
  assert.equal((await at.cli.run('orbit', 'get', 'c/f', 'g')).code, 1)
  assert.equal((await stat(at.file('g.part'))).size, 700_000)
  at.orbit.cuts.length = 0
  const seen = at.orbit.seen.length
  assert.equal((await at.cli.run('orbit', 'get', 'c/f', 'g')).code, 0)
  assert.ok((await readFile(at.file('g'))).equals(bytes))
  assert.deepEqual(at.orbit.seen.slice(seen), [`GET c/f bytes=700000- ${md5(bytes)}`])
  at.orbit.cuts.push(700_000, 0, 0, 0, 0, 0, 0, 0)
  await at.cli.run('orbit', 'get', 'c/f', 'g', '--force')
  at.orbit.cuts.length = 0
  at.fill('c', { f: 'another one' })
  assert.equal((await at.cli.run('orbit', 'get', 'c/f', 'g', '--force')).code, 0)
  assert.equal(await readFile(at.file('g'), 'utf8'), 'another one')
})

test('orbit get: bytes with another MD5 are not kept', async () => {
  await using at = await open()
  at.api.onRaw('GET /v1/acc-12345/c/f', (_request, response) => {
    response.writeHead(200, { ETag: md5('other'), 'Content-Length': 5 }).end('bytes')
  })
  for (const output of ['f', '-']) {
    const { err, code } = await at.cli.run('orbit', 'get', 'c/f', output)
    assert.match(err, /ERROR: download c\/f: the bytes that came have another MD5 than Orbit says\nHINT: /)
    assert.equal(code, 1)
  }
  assert.deepEqual(
    (await readdir(at.cli.folder)).filter((name) => name.startsWith('f')),
    [],
  )
})

test('orbit get: large and empty objects, and stdout', async () => {
  await using at = await open()
  await writeFile(at.file('disk'), randomBytes(2 * MiB + 1))
  await at.cli.run('orbit', 'put', 'disk', 'c', '--segment-size', '1')
  assert.equal((await at.cli.run('orbit', 'get', 'c/disk', 'back')).code, 0)
  assert.ok((await readFile(at.file('back'))).equals(await readFile(at.file('disk'))))
  at.fill('d', { empty: '', text: 'to stdout' })
  assert.equal((await at.cli.run('orbit', 'get', 'd/empty')).code, 0)
  assert.equal((await stat(at.file('empty'))).size, 0)
  assert.equal((await at.cli.run('orbit', 'get', 'd/text', '-')).out, 'to stdout')
  assert.match((await at.cli.run('orbit', 'get', 'd/text', 'disk')).err, /^ERROR: disk is there already\n/)
  assert.match((await at.cli.run('orbit', 'get', 'd/no')).err, /no such object\nHINT: brightbox orbit ls d /)
})

test('orbit rm: objects, a large one with its segments, an empty container, and a full one with -r', async () => {
  await using at = await open()
  await writeFile(at.file('disk'), randomBytes(2 * MiB))
  await at.cli.run('orbit', 'put', 'disk', 'c', '--segment-size', '1')
  at.fill('d', { a: '1', b: '2', 'x/c': '3', 'x/d': '4' })
  const { err } = await at.cli.run('orbit', 'rm', 'c/disk', 'd/a')
  assert.equal(err, 'Removed c/disk\nRemoved d/a\n')
  assert.equal(at.objects('c_segments').size, 0)
  const full = await at.cli.run('orbit', 'rm', 'd')
  assert.equal(
    full.err,
    'ERROR: remove container d: it is not empty\nHINT: -r removes all that is in it too\n',
  )
  await at.cli.run('orbit', 'rm', '-r', 'd/x/')
  assert.deepEqual([...at.objects('d').keys()], ['b'])
  assert.equal((await at.cli.run('orbit', 'rm', '-r', 'd', 'c')).code, 0)
  assert.deepEqual([...at.orbit.containers.keys()], ['c_segments'])
  assert.equal((await at.cli.run('orbit', 'rm', 'c_segments/none')).code, 1)
})

test('orbit tempurl: signs with the key of the container, which it makes where there is none', async () => {
  await using at = await open()
  at.fill('c', { 'a b/é': 'x' })
  const { out, code } = await at.cli.run('orbit', 'tempurl', 'c/a b/é', '--expires', '30m')
  assert.equal(code, 0)
  const url = new URL(out.trim())
  const key = at.orbit.containers.get('c')?.headers['x-container-meta-temp-url-key'] ?? ''
  assert.match(key, /^[0-9a-f]{40}$/)
  const expires = Number(url.searchParams.get('temp_url_expires'))
  assert.ok(Math.abs(expires - Date.now() / 1000 - 1800) < 60)
  const signed = `GET\n${expires}\n/v1/acc-12345/c/a b/é`
  assert.equal(url.searchParams.get('temp_url_sig'), createHmac('sha256', key).update(signed).digest('hex'))
  assert.equal(url.pathname, '/v1/acc-12345/c/a%20b/%C3%A9')
  await at.cli.run('orbit', 'tempurl', 'c/a b/é')
  assert.equal(at.orbit.containers.get('c')?.headers['x-container-meta-temp-url-key'], key)
  at.fill('images', { 'img-12345.raw': 'x' })
  assert.equal((await at.cli.run('orbit', 'tempurl', 'images/img-12345.raw')).code, 0)
  assert.match(String(at.orbit.accountHeaders['x-account-meta-temp-url-key']), /^[0-9a-f]{40}$/)
  assert.deepEqual(at.orbit.containers.get('images')?.headers, {})
})

test('orbit tempurl: what has segments in another container is signed with the key of the account', async () => {
  await using at = await open()
  await writeFile(at.file('disk'), randomBytes(2 * MiB))
  await at.cli.run('orbit', 'put', 'disk', 'c', '--segment-size', '1')
  assert.equal((await at.cli.run('orbit', 'tempurl', 'c/disk')).code, 0)
  assert.match(String(at.orbit.accountHeaders['x-account-meta-temp-url-key']), /^[0-9a-f]{40}$/)
  assert.deepEqual(at.orbit.containers.get('c')?.headers, {})
})

test('orbit tempurl: a missing object, a bad method and a bad time are refused', async () => {
  await using at = await open()
  at.fill('c', {})
  const refusal = async (...args: string[]) =>
    (await at.cli.run('orbit', 'tempurl', ...args)).err.split('\n')[0]
  assert.equal(await refusal(), 'ERROR: You must specify one object')
  assert.equal(await refusal('c'), "ERROR: 'c' names no object")
  assert.equal(await refusal('c/x'), 'ERROR: There is no object c/x')
  assert.match(String(await refusal('c/x', '--method', 'COPY')), /^ERROR: method must be one of GET/)
  assert.match(String(await refusal('c/x', '--expires', '0')), /^ERROR: expires must be a time such as/)
  assert.equal((await at.cli.run('orbit', 'tempurl', 'c/x', '--method', 'put')).code, 0)
})

test('orbit: the key of a container and the token stay out of what --debug shows', async () => {
  await using at = await open()
  at.fill('c', { x: 'x' })
  const { err } = await at.cli.run('--debug', 'orbit', 'tempurl', 'c/x')
  const key = at.orbit.containers.get('c')?.headers['x-container-meta-temp-url-key'] ?? 'none'
  assert.ok(!err.includes(key) && !err.includes('fresh-token'), err)
})

const REGISTER = ['image', 'register', '-a', 'x86_64', '--file', 'disk.img']
const upload = (at: { objects: (name: string) => Map<string, FakeObject> }) => [
  ...at.objects('image-uploads').keys(),
]

test('image register --file: puts the file into Orbit, registers its URL and then removes it', async () => {
  await using at = await open()
  await writeFile(at.file('disk.img'), randomBytes(100_000))
  const bodies: { http_url: string; name: string }[] = []
  at.api.on('POST /1.0/images', (request, response) => {
    bodies.push(JSON.parse(request.body))
    assert.equal(upload(at).length, 1)
    return answerJson(fakeImage('img-8yeen', { status: 'creating' }), 201)(request, response)
  })
  at.api.on('GET /1.0/images/img-8yeen', answerJson(fakeImage('img-8yeen')))
  const { out, err, code } = await at.cli.run(...REGISTER, '--wait')
  assert.equal(code, 0, err)
  assert.match(out, /\n img-8yeen .* private /)
  assert.match(err, /^Uploading disk\.img: uploading 100%/)
  assert.doesNotMatch(err, /HINT/)
  assert.match(
    bodies[0]?.http_url ?? '',
    /\/v1\/acc-12345\/image-uploads\/[0-9a-f]{8}\/disk\.img\?temp_url_sig=[0-9a-f]{64}&temp_url_expires=\d+$/,
  )
  assert.equal(bodies[0]?.name, 'disk.img')
  assert.deepEqual(upload(at), [])
})

test('image register --file: what was sent stays for a week where it fails or is not awaited', async () => {
  await using at = await open()
  await writeFile(at.file('disk.img'), 'this is no disk')
  const failure = { code: 'not-an-image', message: 'no', hint: 'do' }
  at.api.on('POST /1.0/images', answerJson(fakeImage('img-8yeen', { status: 'creating' }), 201))
  at.api.on('GET /1.0/images/img-8yeen', answerJson(fakeImage('img-8yeen', { status: 'failed', failure })))
  const { err, code } = await at.cli.run(...REGISTER, '--wait')
  assert.match(
    err,
    /\nHINT: the file stays in Orbit for 7 days; brightbox orbit rm 'image-uploads\/.{8}\/disk\.img' /,
  )
  assert.equal(code, 1)
  const [name = ''] = upload(at)
  assert.equal(at.objects('image-uploads').get(name)?.headers['x-delete-after'], '604800')
  at.api.on('GET /1.0/images/img-8yeen', answerJson(fakeImage('img-8yeen', { status: 'creating' })))
  const second = await at.cli.run(...REGISTER)
  assert.match(second.err, /\nHINT: the file stays in Orbit /)
  assert.equal(second.code, 0)
  assert.deepEqual(upload(at), [name])
})

test('image register --file: what cannot be sent is refused before anything is registered', async () => {
  await using at = await open()
  await writeFile(at.file('disk.img'), '')
  const empty = await at.cli.run(...REGISTER)
  assert.equal(empty.err, 'ERROR: read disk.img: it is empty\n')
  const none = await at.cli.run('image', 'register', '-a', 'i686', '--file', 'none.img')
  assert.equal(none.err, 'ERROR: read none.img: no such file or folder\n')
  assert.ok(!at.api.lines.some((line) => line.startsWith('POST /1.0/images')))
})
