import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { addAccount, addUser, firstUser, type OrbitUser, send } from '../support/orbit.ts'
import { execute } from '../support/registration.ts'
import { needs } from '../support/tools.ts'

describe('swift', needs('swift', 'cmp'), () => {
  let folder: string
  let daemon: Daemon
  let owner: OrbitUser
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'swift-'))
    daemon = await startDaemon()
    owner = await firstUser(daemon)
  })
  after(async () => {
    await daemon[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** Runs the client as somebody; its words go on with `--os-storage-url` for somebody else's account. */
  async function swift({ auth, user, key }: OrbitUser, ...words: string[]): Promise<string> {
    const env = { PATH: process.env.PATH ?? '', HOME: folder, ST_AUTH: auth, ST_USER: user, ST_KEY: key }
    return (await execute('swift', words, { cwd: folder, env })).stdout
  }

  async function file(name: string, size: number): Promise<string> {
    const path = join(folder, name)
    await writeFile(path, randomBytes(size))
    return path
  }

  /** Downloads an object by the client, which compares its MD5, and compares the bytes. */
  async function assertComesBack(container: string, object: string, path: string): Promise<void> {
    await swift(owner, 'download', container, object, '-o', 'back')
    await execute('cmp', [join(folder, 'back'), path])
  }

  test('uploads, lists, shows, changes, downloads and deletes', async () => {
    const path = await file('plain.bin', 70_000)
    await swift(owner, 'upload', 'plain', 'plain.bin', '-H', 'X-Object-Meta-Colour: blue')
    await swift(owner, 'upload', 'plain', '--object-name', 'ä/ö ü.bin', 'plain.bin')
    assert.equal(await swift(owner, 'list', 'plain'), 'plain.bin\nä/ö ü.bin\n')
    assert.equal(await swift(owner, 'list', 'plain', '-d', '/', '-p', 'ä'), 'ä/\n')
    assert.match(await swift(owner, 'list'), /^plain$/m)
    assert.match(await swift(owner, 'list', '--lh'), /2\s+136K .* plain/)
    assert.match(await swift(owner, 'stat'), /Containers: \d/)
    assert.match(await swift(owner, 'stat', 'plain'), /Objects: 2\n\s+Bytes: 140000/)
    const stat = await swift(owner, 'stat', 'plain', 'plain.bin')
    assert.match(stat, /Content Length: 70000/)
    assert.match(stat, /Meta Colour: blue/)
    await swift(owner, 'post', 'plain', 'plain.bin', '-m', 'shape:round')
    assert.match(await swift(owner, 'stat', 'plain', 'plain.bin'), /Meta Shape: round/)
    assert.doesNotMatch(await swift(owner, 'stat', 'plain', 'plain.bin'), /Colour/)
    await assertComesBack('plain', 'ä/ö ü.bin', path)
    await swift(owner, 'delete', 'plain', 'plain.bin')
    assert.equal(await swift(owner, 'list', 'plain'), 'ä/ö ü.bin\n')
    await swift(owner, 'delete', 'plain')
    await assert.rejects(swift(owner, 'stat', 'plain'), /Container 'plain' not found/)
  })

  for (const [kind, words] of [
    ['dynamic', []],
    ['static', ['--use-slo']],
  ] as const) {
    test(`uploads in segments of a ${kind} large object, reads ranges, and deletes them all`, async () => {
      const path = await file(`large-${kind}`, 5_300_000)
      await swift(owner, 'upload', kind, '-S', '1000000', ...words, `large-${kind}`)
      const segments = (await swift(owner, 'list', `${kind}_segments`)).trim().split('\n')
      assert.equal(segments.length, 6)
      await assertComesBack(kind, `large-${kind}`, path)
      const range = { headers: { range: 'bytes=1999990-2000009' } }
      const part = await owner.send('GET', `/${kind}/large-${kind}`, range)
      assert.deepEqual([part.status, part.headers['content-range']], [206, 'bytes 1999990-2000009/5300000'])
      assert.deepEqual(part.body, (await readFile(path)).subarray(1_999_990, 2_000_010))
      await swift(owner, 'upload', kind, '-S', '2000000', '--changed', ...words, `large-${kind}`)
      assert.equal((await swift(owner, 'list', `${kind}_segments`)).trim().split('\n').length, 6, 'as it was')
      await swift(owner, 'delete', kind, `large-${kind}`)
      assert.equal(await swift(owner, 'list', `${kind}_segments`), '')
    })
  }

  test('a folder goes up, is gone on with, comes down and is deleted', async () => {
    await mkdir(join(folder, 'tree/deep/er'), { recursive: true })
    const names = Array.from({ length: 60 }, (_, i) => `tree/deep/${i % 2 ? 'er/' : ''}${i}`)
    for (const name of names) await file(name, 3000)
    await swift(owner, 'upload', 'trees', 'tree')
    assert.equal((await swift(owner, 'list', 'trees', '-p', 'tree/')).trim().split('\n').length, 60)
    await file('tree/deep/0', 3001)
    const timeOf = async (name: string) =>
      (await owner.send('HEAD', `/trees/tree/deep/${name}`)).headers['x-timestamp']
    const [changed, same] = [await timeOf('0'), await timeOf('2')]
    await swift(owner, 'upload', 'trees', '--skip-identical', 'tree')
    assert.notEqual(await timeOf('0'), changed)
    assert.equal(await timeOf('2'), same)
    await swift(owner, 'download', 'trees', '-D', 'down')
    assert.equal((await readdir(join(folder, 'down/tree'), { recursive: true })).length, 62)
    await execute('diff', ['-r', join(folder, 'tree'), join(folder, 'down/tree')])
    const deleted = await swift(owner, 'delete', 'trees', '--prefix', 'tree/deep/')
    assert.equal(deleted.trim().split('\n').length, 60)
    await swift(owner, 'delete', 'trees')
  })

  test('copies on the server, with metadata', async () => {
    const path = await file('original', 40_000)
    await swift(owner, 'upload', 'from', 'original', '-H', 'X-Object-Meta-A: 1')
    await swift(owner, 'copy', 'from', 'original', '-d', '/to/copied', '-H', 'X-Object-Meta-B: 2')
    const { headers } = await owner.send('HEAD', '/to/copied')
    assert.deepEqual([headers['x-object-meta-a'], headers['x-object-meta-b']], ['1', '2'])
    await assertComesBack('to', 'copied', path)
  })

  test('signs temporary URLs that open one object until their time', async () => {
    const path = await file('secret', 20_000)
    await swift(owner, 'upload', 'hidden', 'secret')
    await swift(owner, 'post', '-m', 'Temp-URL-Key:account-key')
    await swift(owner, 'post', 'hidden', '-m', 'Temp-URL-Key-2:container-key')
    for (const key of ['account-key', 'container-key']) {
      for (const digest of ['sha1', 'sha256', 'sha512']) {
        const words = ['--digest', digest, 'GET', '60', `/v1/${owner.account}/hidden/secret`, key]
        const url = `${daemon.url}${(await swift(owner, 'tempurl', ...words)).trim()}`
        const got = await send('GET', url)
        assert.deepEqual([got.status, got.body], [200, await readFile(path)], `${key}, ${digest}`)
        assert.equal((await send('GET', url.replace('hidden/secret', 'hidden/other'))).status, 401)
        assert.equal((await send('PUT', url, { body: 'x' })).status, 401)
      }
    }
    const words = ['GET', '60', `/v1/${owner.account}/hidden/secret`, 'another-key']
    const forged = (await swift(owner, 'tempurl', ...words)).trim()
    assert.equal((await send('GET', `${daemon.url}${forged}`)).status, 401)
  })

  test('access lists let another account, and a storage client, do what they say and no more', async () => {
    const stranger = await addUser(daemon, await addAccount(daemon), 'full')
    const helper = await addUser(daemon, owner.account, 'storage')
    await file('shared', 1000)
    await swift(owner, 'upload', 'lent', 'shared')
    const there = ['--os-storage-url', owner.storage]
    for (const other of [stranger, helper]) {
      const get = () => swift(other, ...there, 'download', 'lent', 'shared', '-o', 'lent')
      const put = () => swift(other, ...there, 'upload', 'lent', 'shared', '--object-name', 'theirs')
      await assert.rejects(get(), /403/)
      await swift(owner, 'post', 'lent', '-r', `${other.account}:${other.user}`)
      await get()
      assert.match(await swift(other, ...there, 'list', 'lent'), /^shared$/m)
      await assert.rejects(put(), /403/)
      await swift(owner, 'post', 'lent', '-w', `${other.account}:${other.user}`)
      await put()
      const headers = { 'x-auth-token': other.token }
      assert.equal((await send('DELETE', `${owner.storage}/lent`, { headers })).status, 403)
      assert.equal((await send('POST', `${owner.storage}/lent`, { headers })).status, 403)
      await swift(owner, 'post', 'lent', '-r', '', '-w', '')
      await assert.rejects(get(), /403/)
      await assert.rejects(put(), /403/)
    }
    await assert.rejects(swift(helper, 'list'), /403/)
    await swift(owner, 'post', 'lent', '-r', '.r:*')
    assert.equal((await send('GET', `${owner.storage}/lent/shared`)).status, 200)
    assert.equal((await send('GET', `${owner.storage}/lent`)).status, 401)
    await swift(owner, 'post', 'lent', '-r', '.r:*,.rlistings')
    assert.equal((await send('GET', `${owner.storage}/lent`)).status, 200)
  })
})
