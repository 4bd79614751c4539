import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CREATE, NOTHING, openFixture, text } from './sftp.fixtures.ts'
import { OPEN, REQUEST, STATUS } from './wire.ts'

const MARKER = { attributes: { contentType: 'application/directory', headers: {}, metadata: {} } }

test('tree: the root has the containers', async (t) => {
  const { connect, orbit, owner, account } = await openFixture(t)
  await orbit.containers.put(owner, { account, container: '..' }, { metadata: {} })
  const client = await connect()
  assert.deepEqual(
    (await client.list('/')).filter((name) => name !== 'images/'),
    ['c/'],
  )
  assert.deepEqual(
    [await client.stat('/'), await client.stat('c'), await client.stat('/x')],
    ['d', 'd', undefined],
  )
})

test('tree: a path is tidied, never climbs, and is UTF-8 without NUL', async (t) => {
  const { connect, put } = await openFixture(t)
  await put('a/b', 'x')
  await put('é\u{1f4be}', 'xy')
  const client = await connect()
  for (const path of ['/c/a/b', 'c//a/./b', '/../../c/a/x/../b/', './c/a/b'])
    assert.equal(await client.stat(path), 1)
  assert.equal(await client.stat('/c/é\u{1f4be}'), 2)
  for (const path of [Buffer.from('/c/\xff', 'latin1'), Buffer.from('/c/a\0b'), Buffer.from([0xc0, 0xaf])]) {
    assert.equal(await client.status(REQUEST.stat, text(path)), STATUS.noSuchFile)
    assert.equal(await client.status(REQUEST.open, text(path), text(''), NOTHING), STATUS.noSuchFile)
    assert.equal(await client.status(REQUEST.realpath, text(path)), STATUS.noSuchFile)
  }
  const realpath = async (path: string, ...words: string[]) => {
    const { fields } = await client.request(
      words.length ? REQUEST.extended : REQUEST.realpath,
      ...words,
      path,
    )
    fields.uint32()
    return String(fields.bytes())
  }
  assert.equal(await realpath('.'), '/')
  assert.equal(await realpath('c/../../c/none/'), '/c/none')
  assert.equal(await realpath('~/c', 'expand-path@openssh.com'), '/c')
  assert.equal(await realpath('~jo', 'expand-path@openssh.com'), '/')
  assert.equal(await realpath('jo', 'home-directory'), '/')
})

test('tree: names that no path can reach are in no listing, and do no harm', async (t) => {
  const { connect, put } = await openFixture(t)
  for (const name of ['/a', 'b//c', './d', '../e', 'f/./g', 'h/', 'i']) await put(name, '')
  const client = await connect()
  assert.deepEqual(await client.list('/c'), ['b/', 'f/', 'h/', 'i'])
  assert.deepEqual(await client.list('/c/b'), [])
  assert.deepEqual(await client.list('/c/f'), [])
  assert.deepEqual(await client.list('/c/h'), [])
})

test('tree: objects, markers and beginnings of the same name are one directory', async (t) => {
  const { connect, put } = await openFixture(t)
  await put('plain', 'x')
  await put('plain/below', 'x')
  for (let n = 0; n < 450; n++) await put(`plain-${n}`, '')
  await put('marked', '', MARKER)
  await put('marked.txt', '')
  await put('marked/below', '')
  await put('bare', '', MARKER)
  await put('slash/', '', MARKER)
  const client = await connect()
  const names = await client.list('/c')
  assert.deepEqual(
    names.filter((name) => !name.startsWith('plain-')),
    ['bare/', 'marked.txt', 'marked/', 'plain/', 'slash/'],
  )
  assert.equal(names.length, 455)
  for (const name of ['plain', 'marked', 'bare', 'slash'])
    assert.equal(await client.stat(`/c/${name}`), 'd', name)
  assert.deepEqual(await client.list('/c/slash'), [])
  await assert.rejects(client.list('/c/marked.txt'), /^Error: 4 Not a directory/)
  await assert.rejects(client.list('/c/none'), /^Error: 2 /)
})

test('tree: directories are made, and removed when they are empty', async (t) => {
  const { connect, names, put } = await openFixture(t)
  const client = await connect()
  const mkdir = (path: string) => client.status(REQUEST.mkdir, path, NOTHING)
  const rmdir = (path: string) => client.status(REQUEST.rmdir, path)
  assert.deepEqual(
    [await mkdir('/d'), await mkdir('/d'), await mkdir('/c')],
    [STATUS.ok, STATUS.failure, STATUS.failure],
  )
  assert.deepEqual([await mkdir('/'), await rmdir('/')], [STATUS.failure, STATUS.failure])
  assert.deepEqual(
    [await mkdir('/c/a'), await mkdir('/c/a/b'), await mkdir('/c/a')],
    [STATUS.ok, STATUS.ok, STATUS.failure],
  )
  assert.equal(await mkdir('/none/a'), STATUS.noSuchFile)
  assert.deepEqual(await names(), ['a/', 'a/b/'])
  assert.deepEqual(
    [await rmdir('/c/a'), await rmdir('/c'), await rmdir('/c/x')],
    [STATUS.failure, STATUS.failure, STATUS.noSuchFile],
  )
  assert.deepEqual(
    [await rmdir('/c/a/b'), await rmdir('/c/a'), await rmdir('/c'), await rmdir('/c')],
    [0, 0, 0, STATUS.noSuchFile],
  )
  await put('x', '').catch(() => {})
  assert.equal(await client.stat('/c'), undefined)
})

test('tree: a directory outlives its last file', async (t) => {
  const { connect, put, names } = await openFixture(t)
  await put('a/b/file', '')
  await put('a/c', '')
  const client = await connect()
  await client.done(REQUEST.remove, '/c/a/b/file')
  assert.deepEqual(await client.list('/c/a'), ['b/', 'c'])
  await client.done(REQUEST.rename, '/c/a/c', '/c/c')
  await client.done(REQUEST.rmdir, '/c/a/b')
  assert.equal(await client.stat('/c/a'), 'd')
  await client.done(REQUEST.rmdir, '/c/a')
  assert.deepEqual(await names(), ['c'])
  assert.equal(await client.status(REQUEST.remove, '/c'), STATUS.failure)
  assert.equal(await client.status(REQUEST.remove, '/c/none'), STATUS.noSuchFile)
  await client.done(REQUEST.mkdir, '/c/d', NOTHING)
  assert.equal(await client.status(REQUEST.remove, '/c/d'), STATUS.failure)
})

test('tree: renaming replaces where that is asked for, and moves directories whole', async (t) => {
  const { connect, put, names, read, orbit, owner, account } = await openFixture(t)
  await orbit.containers.put(owner, { account, container: 'other' }, { metadata: {} })
  for (const name of ['a', 'b', 'dir/x', 'dir/sub/y', 'dir2/z']) await put(name, name)
  await put('dir', '', MARKER)
  const client = await connect()
  const rename = (from: string, to: string) => client.status(REQUEST.rename, from, to)
  const replace = (from: string, to: string) =>
    client.status(REQUEST.extended, 'posix-rename@openssh.com', from, to)
  assert.equal(await rename('/c/a', '/c/b'), STATUS.failure)
  assert.equal(await replace('/c/a', '/c/a'), STATUS.ok)
  assert.equal(await replace('/c/a', '/c/b'), STATUS.ok)
  assert.equal(String(await read('b')), 'a')
  assert.equal(await replace('/c/b', '/c/dir'), STATUS.failure)
  assert.equal(await replace('/c/dir', '/c/b'), STATUS.failure)
  assert.equal(await replace('/c/dir', '/c/dir/sub/dir'), STATUS.failure)
  assert.equal(await rename('/c', '/d'), STATUS.failure)
  assert.equal(await rename('/c/b', '/d'), STATUS.failure)
  assert.equal(await rename('/c/none', '/c/x'), STATUS.noSuchFile)
  assert.equal(await rename('/c/b', '/none/b'), STATUS.noSuchFile)
  assert.equal(await rename('/c/dir', '/c/moved'), STATUS.ok)
  assert.deepEqual(await names(), ['b', 'dir2/z', 'moved', 'moved/sub/y', 'moved/x'])
  assert.equal(await rename('/c/moved', '/other/deep/er'), STATUS.ok)
  assert.deepEqual(await names(), ['b', 'dir2/z'])
  assert.deepEqual(await client.list('/other/deep/er'), ['sub/', 'x'])
})

test('tree: files that are being written are renamed and removed like others', async (t) => {
  const { connect, put, names, read } = await openFixture(t)
  await put('old', 'old')
  const client = await connect()
  const handle = await client.open('/c/a', CREATE)
  await client.write(handle, 0, 'new')
  assert.equal(await client.status(REQUEST.rename, '/c/a', '/c/old'), STATUS.failure)
  await client.done(REQUEST.rename, '/c/a', '/c/b')
  assert.deepEqual([await client.stat('/c/a'), await client.stat('/c/b')], [undefined, 3])
  await client.done(REQUEST.extended, 'posix-rename@openssh.com', '/c/b', '/c/old')
  await client.close(handle)
  assert.deepEqual([await names(), String(await read('old'))], [['old'], 'new'])
  const gone = await client.open('/c/old', OPEN.write)
  await client.write(gone, 0, 'X')
  await client.done(REQUEST.remove, '/c/old')
  assert.equal(await client.stat('/c/old'), undefined)
  await client.close(gone)
  assert.deepEqual(await names(), [])
})

test('tree: who has Orbit only sees nothing, and enters what was given to him', async (t) => {
  const { connect, put, orbit, owner, account, names } = await openFixture(t)
  await put('a', 'x')
  const client = await connect('storage')
  assert.deepEqual(await client.list('/'), [])
  const status = (type: number, ...fields: (string | Uint8Array)[]) => client.status(type, ...fields)
  assert.equal(await status(REQUEST.stat, '/c'), STATUS.permissionDenied)
  assert.equal(await status(REQUEST.stat, '/none'), STATUS.permissionDenied)
  assert.equal(await status(REQUEST.opendir, '/c'), STATUS.permissionDenied)
  assert.equal(await status(REQUEST.mkdir, '/d', NOTHING), STATUS.permissionDenied)
  const give = (change: { read?: string; write?: string }) =>
    orbit.containers.update(owner, { account, container: 'c' }, { metadata: {}, ...change })
  await give({ read: `${account}:cli-store` })
  assert.deepEqual(
    [await client.stat('/c'), await client.list('/c'), await client.get('/c/a')],
    ['d', ['a'], 'x'],
  )
  await assert.rejects(client.open('/c/b', CREATE), /^Error: 3 /)
  assert.equal(await status(REQUEST.remove, '/c/a'), STATUS.permissionDenied)
  await give({ read: '', write: `${account}:cli-store` })
  await assert.rejects(client.open('/c/a'), /^Error: 3 /)
  await client.put('/c/b', 'from outside')
  await give({ read: `${account}:cli-store` })
  await client.done(REQUEST.remove, '/c/b')
  assert.deepEqual(await names(), ['a'])
  assert.equal(await status(REQUEST.rmdir, '/c'), STATUS.permissionDenied)
  const stranger = await connect('other')
  assert.equal(
    await stranger.status(REQUEST.stat, '/c'),
    STATUS.noSuchFile,
    'another account has no such container',
  )
})

test('tree: a large object is listed with what is known of it, whoever may read its parts', async (t) => {
  const { connect, put, orbit, owner, account } = await openFixture(t)
  const at = { account, container: 'parts' }
  await orbit.containers.put(owner, at, { metadata: {} })
  await put('seg/1', 'abc')
  await put('large', '', { attributes: { headers: {}, metadata: {}, dynamicManifest: 'c/seg/' } })
  await put('foreign', '', { attributes: { headers: {}, metadata: {}, dynamicManifest: 'parts/x' } })
  const change = { metadata: {}, read: `${account}:cli-store` }
  await orbit.containers.update(owner, { account, container: 'c' }, change)
  const client = await connect('storage')
  assert.deepEqual(await client.list('/c'), ['foreign', 'large', 'seg/'])
  assert.deepEqual([await client.stat('/c/large'), await client.get('/c/large')], [3, 'abc'])
  assert.equal(await client.status(REQUEST.stat, '/c/foreign'), STATUS.permissionDenied)
})
