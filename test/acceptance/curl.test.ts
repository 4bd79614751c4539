import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { firstUser, type OrbitUser } from '../support/orbit.ts'
import { execute } from '../support/registration.ts'
import { needs } from '../support/tools.ts'

const SIZE = 3_000_000

describe('curl', needs('curl', 'cmp'), () => {
  let folder: string
  let daemon: Daemon
  let owner: OrbitUser
  let path: string
  let url: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'curl-'))
    daemon = await startDaemon()
    owner = await firstUser(daemon)
    await owner.send('PUT', '/c')
    path = join(folder, 'bytes')
    await writeFile(path, randomBytes(SIZE))
    url = `${owner.storage}/c/bytes`
    assert.equal(await curl('-T', path, url), '201')
  })
  after(async () => {
    await daemon[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** Runs curl with the token. @returns the status of the last answer */
  async function curl(...words: string[]): Promise<string> {
    const usual = [
      '-s',
      '-o',
      join(folder, 'out'),
      '-w',
      '%{http_code}',
      '-H',
      `X-Auth-Token: ${owner.token}`,
    ]
    return (await execute('curl', [...usual, ...words], { cwd: folder })).stdout
  }
  const out = () => readFile(join(folder, 'out'))

  test('logs in as the guide says', async () => {
    const login = ['-H', `X-Auth-User: ${owner.user}`, '-H', `X-Auth-Key: ${owner.key}`, '-D', '-']
    const { stdout } = await execute('curl', ['-s', ...login, `${daemon.url}/v1`])
    assert.match(stdout, /^HTTP\/1.1 200 OK\r\n.*X-Storage-Url: http:\/\/127.*\r\n\r\nAuthenticated$/is)
    assert.equal(await curl('-I', `${daemon.url}/v1`), '412', 'without a user')
  })

  test('reads ranges, several at once too', async () => {
    const bytes = await readFile(path)
    assert.equal(await curl('-r', '5-9', url), '206')
    assert.deepEqual(await out(), bytes.subarray(5, 10))
    assert.equal(await curl('-r', '-7', url), '206')
    assert.deepEqual(await out(), bytes.subarray(SIZE - 7))
    assert.equal(await curl('-r', '1048570-1048590,2097150-2097160', url), '206')
    const parts = await out()
    assert.ok(parts.includes(bytes.subarray(1_048_570, 1_048_591)))
    assert.ok(parts.includes(bytes.subarray(2_097_150, 2_097_161)))
    assert.equal(await curl('-r', `${SIZE}-`, url), '416')
  })

  test('goes on with a download that broke off', async () => {
    await execute('cp', [path, join(folder, 'part')])
    await truncate(join(folder, 'part'), 1_234_567)
    const words = ['-C', '-', '-o', 'part', '-H', `X-Auth-Token: ${owner.token}`, url]
    await execute('curl', ['-sf', ...words], { cwd: folder })
    await execute('cmp', [join(folder, 'part'), path])
  })

  test('asks whether something changed', async () => {
    const { headers } = await owner.send('HEAD', '/c/bytes')
    const etag = String(headers.etag)
    assert.equal(await curl('-H', `If-None-Match: ${etag}`, url), '304')
    assert.equal(await curl('-H', `If-None-Match: "${etag}"`, '-r', '0-1', url), '304')
    assert.equal(await curl('-H', `If-Match: ${'0'.repeat(32)}`, url), '412')
    assert.equal(await curl('-H', `If-Match: ${etag}`, url), '200')
    assert.equal(await curl('-z', String(headers['last-modified']), url), '304')
    assert.equal(await curl('-z', '1 Jan 2020', url), '200')
    assert.equal(await curl('-z', '-1 Jan 2020', url), '412')
    assert.equal(await curl('-H', 'If-None-Match: *', '-T', path, url), '412')
  })

  test('sends what it reads from a pipe, with and without waiting for leave', async () => {
    for (const expect of ['Expect:', 'Expect: 100-continue']) {
      const command = 'cat "$1" | curl -sf -T - -H "$2" -H "X-Auth-Token: $3" "$4"'
      await execute('bash', ['-c', command, 'bash', path, expect, owner.token, `${owner.storage}/c/piped`])
      assert.equal(await curl(`${owner.storage}/c/piped`), '200')
      await execute('cmp', [join(folder, 'out'), path])
    }
    const { stdout } = await execute('curl', [
      ...[
        '-sv',
        '-o',
        '/dev/null',
        '-T',
        path,
        '-H',
        'Expect: 100-continue',
        '-w',
        '%{http_code} %{size_upload}',
      ],
      ...['-H', `X-Auth-Token: ${owner.token}`, `${owner.storage}/nowhere/o`],
    ])
    assert.equal(stdout, '404 0', 'refused before a byte was sent')
  })

  test('a checksum that is not that of the bytes leaves the old object', async () => {
    assert.equal(await curl('-T', path, '-H', `ETag: ${'f'.repeat(32)}`, `${owner.storage}/c/checked`), '422')
    assert.equal(await curl(`${owner.storage}/c/checked`), '404')
    assert.equal(await curl('-T', path, '-H', `ETag: ${'f'.repeat(32)}`, url), '422')
    assert.equal(await curl(url), '200')
    await execute('cmp', [join(folder, 'out'), path])
  })

  test('reads and writes by temporary URLs, and saves under the name that they say', async () => {
    await owner.send('POST', '/c', { headers: { 'X-Container-Meta-Temp-URL-Key': 'k' } })
    const expires = Math.floor(Date.now() / 1000) + 60
    const signed = (method: string, object: string) => {
      const text = `${method}\n${expires}\n/v1/${owner.account}/c/${object}`
      const signature = createHmac('sha1', 'k').update(text).digest('hex')
      return `${owner.storage}/c/${object}?temp_url_sig=${signature}&temp_url_expires=${expires}`
    }
    const get = signed('GET', 'bytes')
    await execute('curl', ['-sfOJ', `${get}&filename=saved.bin`], { cwd: folder })
    assert.equal((await stat(join(folder, 'saved.bin'))).size, SIZE)
    await execute('curl', ['-sf', '-T', path, signed('PUT', 'by-url')])
    assert.equal(await curl(`${owner.storage}/c/by-url`), '200')
    await execute('cmp', [join(folder, 'out'), path])
    await assert.rejects(execute('curl', ['-sf', '-T', path, get]), /Command failed/)
    await assert.rejects(execute('curl', ['-sf', get.replace('expires=1', 'expires=2')]), /Command failed/)
  })
})
