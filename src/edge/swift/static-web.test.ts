import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openSwift } from '../../../test/support/swift-server.ts'

const fixture = await openSwift()
after(() => fixture[Symbol.asyncDispose]())
const { ask, account, port } = fixture

const OPEN = { 'X-Container-Read': '.r:*,.rlistings' }
const web = (name: string, value: string) => ({ [`X-Container-Meta-Web-${name}`]: value })
const get = (path: string, headers: Record<string, string> = {}) => ask('GET', path, { token: null, headers })

async function makeSite(name: string, headers: Record<string, string>, objects: Record<string, string>) {
  await ask('PUT', `/${name}`, { headers: { ...OPEN, ...headers } })
  for (const [object, body] of Object.entries(objects)) {
    const type = object.endsWith('/') ? { 'Content-Type': 'application/directory' } : {}
    const put = await ask('PUT', `/${name}/${encodeURIComponent(object)}`, { body, headers: type })
    assert.equal(put.status, 201, object)
  }
}

const FILES = { 'index.html': 'home', 'dir/index.html': 'inner', 'dir/a.txt': 'a', 'plain/b.txt': 'b' }

test('web site: the index stands for its folder, with a slash at the end of the address', async () => {
  await makeSite('site', web('Index', 'index.html'), FILES)
  const base = `http://127.0.0.1:${port}/v1/${account}/site`
  const headers = { Host: `127.0.0.1:${port}` }
  for (const [path, to] of [
    ['/site', `${base}/`],
    ['/site/dir', `${base}/dir/`],
    ['/site/plain', `${base}/plain/`],
  ] as const) {
    const { status, headers: answered } = await get(path, headers)
    assert.deepEqual([status, answered.location], [301, to], path)
  }
  const home = await get('/site/')
  assert.deepEqual([home.status, home.text, home.headers['content-type']], [200, 'home', 'text/html'])
  assert.equal((await get('/site/dir/')).text, 'inner')
  assert.equal((await get('/site/dir/a.txt')).text, 'a')
  const head = await ask('HEAD', '/site/', { token: null })
  assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', '4'])
  assert.equal((await get('/site/', { Range: 'bytes=1-2' })).text, 'om')
  const etag = String(home.headers.etag)
  assert.equal((await get('/site/', { 'If-None-Match': etag })).status, 304)
})

test('web site: a folder without index is not listed unless the owner wants it', async () => {
  for (const path of ['/site/plain/', '/site/none/']) {
    const { status, text, headers } = await get(path)
    assert.equal(status, 404, path)
    assert.match(text, /Web Listing Disabled/)
    assert.match(text, /Web-Index: index\.html/)
    assert.equal(headers['content-type'], 'text/html; charset=UTF-8')
  }
  assert.equal((await get('/site/none')).status, 404)
})

test('web site: a program with a token gets the plain API, a browser with one can ask for the site', async () => {
  assert.match((await ask('GET', '/site')).text, /^dir\/a\.txt\n/)
  assert.equal((await ask('GET', '/site/dir')).status, 404)
  assert.equal((await ask('GET', '/site/', { headers: { 'X-Web-Mode': 'true' } })).text, 'home')
  assert.equal(
    (await ask('GET', '/site/', { headers: { 'X-Web-Mode': 'false' } })).headers.location,
    undefined,
  )
  assert.equal((await ask('GET', '/c/', { headers: { 'X-Web-Mode': 'true' } })).status, 404)
  assert.equal((await get('/c/', { 'X-Web-Mode': 'true' })).status, 401)
  assert.equal((await ask('PUT', '/site/', {})).status, 202)
})

test('web site: a container without index and listings is none', async () => {
  await makeSite('bare', web('Error', 'error.html'), { '404error.html': 'mine', 'd/': '', 'd/x': 'x' })
  assert.match((await get('/bare')).text, /^404error\.html\n/)
  assert.match((await get('/bare/none')).text, /Not Found/)
  assert.equal((await get('/bare/d')).status, 404)
})

test('listing: folders first, then files with size and date, links that lead to them', async () => {
  await makeSite('list', web('Listings', 'true'), { ...FILES, 'big.bin': 'x'.repeat(1500), 'dir/sub/c': 'c' })
  const { status, text, headers } = await get('/list/')
  assert.deepEqual([status, headers['content-type']], [200, 'text/html; charset=UTF-8'])
  assert.ok(text.includes(`<title>Listing of /v1/${account}/list/</title>`))
  assert.ok(text.includes(`<h1 id="title">Listing of /v1/${account}/list/</h1>`))
  assert.ok(!text.includes('../'))
  const names = [...text.matchAll(/<a href="([^"]*)">([^<]*)<\/a>/g)].map(([, href, name]) => [href, name])
  assert.deepEqual(
    names,
    ['dir/', 'plain/', 'big.bin', 'index.html'].map((name) => [name, name]),
  )
  assert.match(text, /class="item type-application type-octet-stream">[\s\S]*?big\.bin[\s\S]*?>1Ki</)
  assert.match(text, /<td class="coldate">\d{4}-\d\d-\d\d \d\d:\d\d:\d\d</)
  const inner = (await get('/list/dir/')).text
  assert.match(inner, /<tr id="parent" class="item">\s*<td class="colname"><a href="\.\.\/">/)
  assert.match(inner, /href="sub\/"[\s\S]*href="a\.txt"/)
  const head = await ask('HEAD', '/list/', { token: null })
  assert.deepEqual([head.status, head.headers['content-length']], [200, String(Buffer.byteLength(text))])
  assert.equal((await get('/list/none/')).status, 404)
})

test('listing: objects that stand for a folder lead to its listing, and are no file in it', async () => {
  await makeSite('marks', web('Listings', 'yes'), { 'dir/': '', 'dir/x': 'x', real: 'r' })
  await ask('PUT', '/marks/dir', { body: '', headers: { 'Content-Type': 'application/directory' } })
  assert.equal((await get('/marks/dir')).status, 301)
  const { text } = await get('/marks/dir/')
  assert.equal(text.match(/class="item type-/g)?.length, 1)
  await ask('POST', '/marks', { headers: web('Directory-Type', 'text/folder') })
  assert.equal((await get('/marks/dir')).status, 200)
  await ask('PUT', '/marks/own', { body: 'x', headers: { 'Content-Type': 'text/folder' } })
  assert.equal((await get('/marks/own')).status, 404)
  await ask('PUT', '/marks/own', { body: 'xy', headers: { 'Content-Type': 'text/folder' } })
  assert.equal((await get('/marks/own')).text, 'xy')
})

test('listing: names of strangers stay text, whatever is in them', async () => {
  const names = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    'javascript:alert(1)',
    'a&amp;b&lt;',
    'größe 語 🎉.txt',
    '%3Cscript%3E',
    '\u202etxt.exe',
    'a?b#c',
    '\\..\\x',
  ]
  await makeSite('evil', web('Listings', 'true'), Object.fromEntries(names.map((name) => [name, 'x'])))
  await ask('PUT', '/evil/typed', {
    body: 'x',
    headers: { 'Content-Type': `text/"><script>alert(2)</script>` },
  })
  const { text } = await get('/evil/')
  assert.ok(!/<script|<img|onerror=alert\(1\)>|javascript:alert\(1\)"/.test(text))
  for (const [, attributes] of text.matchAll(/<(?:a|tr)([^>]*)>/g))
    assert.match(attributes ?? '', /^(?: (?:href|id|class)="[^"'<>]*")*$/)
  for (const [, href] of text.matchAll(/<a href="([^"]*)"/g)) assert.match(href ?? '', /^[\w.~%/-]*$/)
  const readText = (html: string) =>
    html
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
      .replaceAll('&quot;', '"')
      .replaceAll('&#x27;', "'")
      .replaceAll('&amp;', '&')
  const links = [...text.matchAll(/<a href="([^"]*)">([^<]*)<\/a>/g)]
  const shown = links.map(([, , name]) => readText(name ?? ''))
  assert.deepEqual(
    links.map(([, href]) => decodeURIComponent(href ?? '')),
    shown,
  )
  for (const name of names) assert.ok(shown.join('').includes(name.split('/')[0] ?? ''), name)
  for (const [, href] of links) assert.ok((await get(`/evil/${href}`)).status < 400, href)
})

test('listing: the address in the title is text too', async () => {
  await ask('PUT', '/evil/%3Cb%3E%22x/y', { body: 'x' })
  const { text } = await get('/evil/%3Cb%3E%22x/')
  assert.ok(text.includes(`Listing of /v1/${account}/evil/&lt;b&gt;&quot;x/</h1>`))
})

test('listing: a name that begins with a slash leads nowhere else', async () => {
  await makeSite('slash', web('Listings', 'true'), { '/evil.example/x': 'x', '..': 'dots' })
  const { text } = await get('/slash/')
  assert.ok(text.includes('<a href=".//">/</a>'), text)
})

test('listing: style sheet and label are those of the owner', async () => {
  await makeSite(
    'styled',
    { ...web('Listings', 'true'), ...web('Listings-CSS', 'a b".css') },
    { 'x/y/z': '' },
  )
  assert.ok(
    (await get('/styled/')).text.includes('<link rel="stylesheet" type="text/css" href="a%20b%22.css" />'),
  )
  assert.ok((await get('/styled/x/y/')).text.includes('href="../../a%20b%22.css"'))
  const change = { ...web('Listings-CSS', 'https://s.example/a.css'), ...web('Listings-Label', 'Größe <&>') }
  await ask('POST', '/styled', {
    headers: Object.fromEntries(
      Object.entries(change).map(([name, value]) => [name, Buffer.from(value).toString('latin1')]),
    ),
  })
  const { text } = await get('/styled/x/y/')
  assert.ok(text.includes('href="https://s.example/a.css"'))
  assert.ok(text.includes('Listing of Größe &lt;&amp;&gt;/x/y/</h1>'))
})

test("errors: have the site's own pages, with the status of the error", async () => {
  const site = { ...web('Index', 'index.html'), ...web('Error', 'error.html') }
  await makeSite('errors', site, { '404error.html': 'not here', '401error.html': 'keep out', 'd/x': '' })
  for (const path of ['/errors/none', '/errors/none/', '/errors/d/', '/errors/']) {
    const { status, text, headers } = await get(path)
    assert.deepEqual([status, text, headers['content-type']], [404, 'not here', 'text/html'], path)
  }
  const head = await ask('HEAD', '/errors/none', { token: null })
  assert.deepEqual([head.status, head.headers['content-length']], [404, '8'])
  assert.equal((await get('/errors/none', { Range: 'bytes=0-2', 'If-None-Match': '*' })).text, 'not here')
  await ask('POST', '/errors', { headers: { 'X-Container-Read': '.r:*' } })
  const { status, text } = await get('/errors/')
  assert.deepEqual([status, text], [401, 'keep out'])
  await ask('POST', '/errors', { headers: { 'X-Remove-Container-Read': 'x' } })
  const closed = await get('/errors/')
  assert.equal(closed.status, 401)
  assert.match(closed.text, /Unauthorized/)
})

test('rights: folders are only for who may list, objects for who may read', async () => {
  await makeSite(
    'rights',
    { ...web('Index', 'i'), ...web('Listings', 'true') },
    { i: 'home', 'd/x': 'x', 'e/i': 'e' },
  )
  await ask('POST', '/rights', { headers: { 'X-Container-Read': '.r:*' } })
  assert.equal((await get('/rights/')).status, 401)
  assert.equal((await get('/rights/i')).text, 'home')
  assert.equal((await get('/rights/e/')).text, 'e')
  assert.equal((await get('/rights/d/')).status, 401)
  // Whether there is such a folder is not said.
  assert.equal((await get('/rights/d')).status, 404)
  await ask('POST', '/rights', { headers: { 'X-Remove-Container-Read': 'x' } })
  for (const path of ['/rights', '/rights/', '/rights/i', '/rights/none', '/none/', '/none'])
    assert.equal((await get(path)).status, 401, path)
})
