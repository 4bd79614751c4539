import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, test } from 'node:test'
import { openSwift } from '../../../test/support/swift-server.ts'

const fixture = await openSwift()
after(() => fixture[Symbol.asyncDispose]())
const { ask, account } = fixture
const KEY = 'secret'
const EXPIRES = String(Math.floor(Date.now() / 1000) + 600)

await ask('POST', '', { headers: { 'X-Account-Meta-Temp-URL-Key': KEY } })

interface Signing {
  readonly method?: string
  readonly expires?: string
  readonly prefix?: string
  readonly ip?: string
  readonly digest?: string
}

/** @param object decoded */
function sign(
  object: string,
  { method = 'GET', expires = EXPIRES, prefix, ip, digest = 'sha256' }: Signing = {},
) {
  const path = prefix === undefined ? `/v1/${account}/c/${object}` : `prefix:/v1/${account}/c/${prefix}`
  const lines = [...(ip === undefined ? [] : [`ip=${ip}`]), method, expires, path]
  const signature = createHmac(digest, KEY).update(lines.join('\n')).digest('hex')
  const ofPrefix = prefix === undefined ? '' : `&temp_url_prefix=${prefix}`
  const more = ofPrefix + (ip === undefined ? '' : `&temp_url_ip_range=${ip}`)
  return `temp_url_sig=${signature}&temp_url_expires=${expires}${more}`
}

const nobody = (method: string, path: string, body?: string, headers = {}) =>
  ask(method, path, { token: null, headers, ...(body === undefined ? {} : { body }) })

test('temporary URL: opens its object for its method, and HEAD', async () => {
  await ask('PUT', '/c/o', {
    body: 'hello',
    headers: { 'X-Object-Meta-Own': 'x', 'X-Object-Meta-Public-A': 'y' },
  })
  for (const digest of ['sha1', 'sha256', 'sha512']) {
    assert.equal((await nobody('GET', `/c/o?${sign('o', { digest })}`)).text, 'hello')
  }
  const head = await nobody('HEAD', `/c/o?${sign('o')}`)
  assert.deepEqual([head.status, head.headers['content-length']], [200, '5'])
  assert.deepEqual(
    [head.headers['x-object-meta-own'], head.headers['x-object-meta-public-a']],
    [undefined, 'y'],
  )
  assert.equal(head.headers.expires, new Date(Number(EXPIRES) * 1000).toUTCString())
  assert.equal((await nobody('PUT', `/c/p?${sign('p', { method: 'PUT' })}`, 'put')).status, 201)
  assert.equal((await nobody('GET', `/c/d/x?${sign('d/x', { prefix: 'd/' })}`)).status, 404)
  assert.equal((await nobody('GET', `/c/o?${sign('o', { ip: '127.0.0.0/8' })}`)).status, 200)
})

test('temporary URL: any flaw is a 401 that says no more', async () => {
  const good = sign('o')
  const cases: [string, string][] = [
    ['GET', `/c/o?${good.replace(/sig=./, 'sig=z')}`],
    ['GET', `/c/o?${good.replace(/temp_url_expires=\d+/, 'temp_url_expires=')}`],
    ['GET', `/c/o?${good.replace(/&temp_url_expires=\d+/, '')}`],
    ['GET', `/c/o?temp_url_expires=${EXPIRES}`],
    ['GET', `/c/o?${sign('o', { expires: '1' })}`],
    ['GET', `/c/other?${good}`],
    ['PUT', `/c/o?${good}`],
    ['DELETE', `/c/o?${sign('o', { method: 'PUT' })}`],
    ['GET', `/c?${good}`],
    ['GET', `/c/o?${sign('o', { ip: '10.0.0.0/8' })}`],
    ['GET', `/c/e/x?${sign('e/x', { prefix: 'd/' })}`],
  ]
  for (const [method, path] of cases) {
    const answer = await nobody(method, path)
    assert.deepEqual([answer.status, answer.text], [401, '401 Unauthorized: Temp URL invalid\n'], path)
    assert.equal(answer.headers['www-authenticate'], 'Swift realm="unknown"')
  }
})

test('temporary URL: a container’s key opens nothing of another container', async () => {
  await ask('PUT', '/keyed', { headers: { 'X-Container-Meta-Temp-URL-Key': 'own' } })
  await ask('PUT', '/keyed/dlo', { body: '', headers: { 'X-Object-Manifest': 'c/o' } })
  const lines = ['GET', EXPIRES, `/v1/${account}/keyed/dlo`].join('\n')
  const signature = createHmac('sha256', 'own').update(lines).digest('hex')
  const answer = await nobody('GET', `/keyed/dlo?temp_url_sig=${signature}&temp_url_expires=${EXPIRES}`)
  assert.equal(answer.status, 401)
})

test('temporary URL: nobody points at other objects with one', async () => {
  for (const name of ['X-Object-Manifest', 'X-Symlink-Target']) {
    const answer = await nobody('PUT', `/c/p?${sign('p', { method: 'PUT' })}`, '', { [name]: 'c/o' })
    assert.deepEqual(
      [answer.status, answer.text],
      [400, `The header '${name}' is not allowed in this tempurl`],
    )
  }
})

test('temporary URL: a manifest that points at other objects cannot be copied with one either', async () => {
  await ask('PUT', '/public', { headers: { 'X-Container-Read': '.r:*' } })
  await ask('PUT', '/public/manifest', { body: '', headers: { 'X-Object-Manifest': 'private/x' } })
  const copy = await nobody('PUT', `/c/p?multipart-manifest=get&${sign('p', { method: 'PUT' })}`, '', {
    'X-Copy-From': 'public/manifest',
  })
  assert.equal(copy.status, 403)
  assert.equal((await ask('HEAD', '/c/p')).headers['x-object-manifest'], undefined)
})

test('temporary URL: opens its object and not what a body names', async () => {
  await ask('PUT', '/c/kept', { body: 'x' })
  for (const method of ['POST', 'DELETE'] as const) {
    const path = `/c/o?bulk-delete&${sign('o', { method })}`
    const answer = await nobody(method, path, '/c/kept\n', { 'Content-Length': '8' })
    assert.deepEqual([answer.status, answer.text], [401, '401 Unauthorized: Temp URL invalid\n'])
  }
  assert.equal((await ask('HEAD', '/c/kept')).status, 200)
  const archive = await nobody('PUT', `/c/o?extract-archive=tar&${sign('o', { method: 'PUT' })}`, 'x')
  assert.deepEqual([archive.status, archive.text], [401, '401 Unauthorized: Temp URL invalid\n'])
})

test('temporary URL: what the file is called', async () => {
  const object = 'd/a b"é.txt'
  const path = '/c/d/a%20b%22%C3%A9.txt'
  await ask('PUT', path, { body: '' })
  const dispositionOf = async (query: string) =>
    (await nobody('GET', `${path}?${sign(object)}${query}`)).headers['content-disposition']
  const names = `filename="a b%22%C3%A9.txt"; filename*=UTF-8''a%20b%22%C3%A9.txt`
  assert.equal(await dispositionOf(''), `attachment; ${names}`)
  assert.equal(await dispositionOf('&inline'), 'inline')
  assert.equal(await dispositionOf('&filename=F'), `attachment; filename="F"; filename*=UTF-8''F`)
  assert.equal(await dispositionOf('&filename=F&inline'), `inline; filename="F"; filename*=UTF-8''F`)
  await ask('POST', path, { headers: { 'Content-Disposition': 'own' } })
  assert.equal(await dispositionOf(''), 'own')
  assert.equal(
    await dispositionOf('&filename=a%0d%0ab'),
    `attachment; filename="a%0D%0Ab"; filename*=UTF-8''a%0D%0Ab`,
  )
})
