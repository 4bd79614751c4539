import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { lstat, readdir, readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { sql } from 'kysely'
import { inCatalog, libraryAt, textOfCatalog } from '../support/library-place.ts'
import { send } from '../support/orbit.ts'
import { execute } from '../support/registration.ts'
import { tryNbd, trySftp } from '../support/rights-logins.ts'
import { openRightsWorld, type RightsWorld, signUrl } from '../support/rights-world.ts'
import { needs } from '../support/tools.ts'

/** A secret that is found again wherever it stands. */
const plant = (name: string) => `${name}${randomBytes(12).toString('hex')}`

describe('secrets', needs('nbdinfo'), () => {
  let world: RightsWorld
  let token = ''
  let settings: string
  /** By what they are; each would be worth something to somebody else. */
  const planted = new Map<string, string>()
  /** Answers that others, and the owner himself, were given. */
  const told: string[] = []
  const source = createServer((request, response) => {
    // Whoever fetches is sent on with a secret, and then told something with another.
    if (request.url?.startsWith('/first')) {
      response
        .writeHead(302, { location: `/second?signature=${planted.get('signature of a redirect')}` })
        .end()
    } else if (request.url?.startsWith('/login')) {
      const location = `http://jo:${planted.get('password of a redirect')}@127.0.0.1/`
      response.writeHead(302, { location }).end()
    } else if (request.url?.startsWith('/scheme')) {
      response.writeHead(302, { location: `ftp://h/${planted.get('address of a redirect')}` }).end()
    } else if (request.url?.startsWith('/lost')) {
      response
        .writeHead(302, {
          location: `http://169.254.169.254/${planted.get('address of a private redirect')}`,
        })
        .end()
    } else if (request.url?.startsWith('/second')) response.end('bytes'.repeat(1000))
    else response.writeHead(407, { 'x-secret': String(planted.get('answer of a proxy')) }).end()
  })

  const secret = (what: string) => {
    const made = planted.get(what) ?? plant(`${what.replaceAll(/\W/g, '')}`.replaceAll(' ', ''))
    planted.set(what, made)
    return made
  }
  const ask = async (method: string, path: string, body?: object, bearer = token) => {
    const { status, text } = await world.api(bearer, method, path, body)
    told.push(text)
    return { status, body: text === '' ? {} : JSON.parse(text) }
  }

  before(async () => {
    for (const what of ['signature', 'password', 'address']) secret(`${what} of a redirect`)
    secret('address of a private redirect')
    secret('answer of a proxy')
    source.listen(0, '127.0.0.1')
    await once(source, 'listening')
    world = await openRightsWorld({ 'nbd.listen': '127.0.0.1:0', 'log.level': 'trace' })
    token = world.actors[0]?.token ?? ''
    planted.set('access token', token)
    planted.set('secret of a client', world.clients.full.secret)
    planted.set('refresh token', world.dead.refresh ?? '')
    settings = world.daemon.settings
  })

  after(async () => {
    await world[Symbol.asyncDispose]()
    source.close()
  })

  /** Its server was made without QEMU, and so without a request. */
  const setUserData = (data: string, server: string, userData: string) =>
    inCatalog(data, sql`update servers set user_data = ${userData} where id = ${server}`)

  async function settle(id: string) {
    for (;;) {
      const { body } = await ask('GET', `/1.0/images/${id}`)
      if (body.status !== 'creating') return body.status as string
      await new Promise((resolve) => setTimeout(resolve, 30))
    }
  }

  test('what is planted in every place where somebody may say a secret', async () => {
    const { port } = source.address() as AddressInfo
    for (const [path, end] of [
      ['first', 'available'],
      ['refused', 'failed'],
      ['login', 'failed'],
      ['scheme', 'failed'],
      ['lost', 'failed'],
    ] as const) {
      const url = `http://127.0.0.1:${port}/${path}?key=${secret('query of a source')}`
      const { status, body } = await ask('POST', '/1.0/images', { arch: 'x86_64', http_url: url })
      assert.equal(status, 201, JSON.stringify(body))
      assert.equal(await settle(body.id), end)
      await ask('GET', `/1.0/images/${body.id}/events`)
    }
    for (const url of [
      `http://a:${secret('password of a bad source')}@127.0.0.1:1:2/`,
      `ftp://x:${secret('password of an FTP source')}@h/`,
    ])
      assert.equal((await ask('POST', '/1.0/images', { arch: 'x86_64', http_url: url })).status, 422)
    // Nothing listens there.
    const gone = await ask('POST', '/1.0/images', {
      ...{
        arch: 'x86_64',
        http_url: `http://b:${secret('password where nobody is')}@127.0.0.1:1/x?s=${secret('query where nobody is')}`,
      },
    })
    await ask('GET', `/1.0/images/${gone.body.id}`)
    await ask('DELETE', `/1.0/images/${gone.body.id}`)
    const { body: made } = await world
      .api(token, 'POST', '/1.0/api_clients', {})
      .then(({ text }) => ({ body: JSON.parse(text) }))
    planted.set('secret of a new client', made.secret)
    await ask('PUT', `/1.0/images/img-zzzzz`, { name: 'x' }, secret('token that is none'))
    await ask('GET', `/1.0/images?token=${secret('query of a request')}`)
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    for (const [type, body] of [
      ['application/json', `{"client_id":"cli-zzzzz","client_secret":"${secret('wrong secret')}"}`],
      ['application/json', `{"grant_type":"password","password":"${secret('malformed JSON')}"`],
      ['application/x-www-form-urlencoded', `client_id=x&client_secret=${secret('wrong secret in a form')}`],
      ['text/plain', secret('body of another type')],
    ]) {
      const answer = await send('POST', `${world.daemon.url}/token`, {
        headers: { ...form, 'content-type': type ?? '' },
        body: body ?? '',
      })
      told.push(answer.text)
    }
  })

  test('what is planted in Orbit, SFTP, NBD, consoles and connections that are no HTTP', async () => {
    const { daemon, account } = world
    const storage = `${daemon.url}/v1/${account}`
    const key = secret('key of temporary URLs')
    await send('POST', storage, { headers: { 'x-auth-token': token, 'x-account-meta-temp-url-key': key } })
    await send('PUT', `${storage}/open`, {
      headers: {
        'x-auth-token': token,
        'x-container-read': '.r:*',
        'x-container-meta-temp-url-key': secret('key of a container'),
      },
    })
    await send('PUT', `${storage}/open/o`, { headers: { 'x-auth-token': token }, body: 'bytes' })
    const signed = signUrl(key, 'GET', `/v1/${account}/open/o`)
    planted.set('signature of a temporary URL', /sig=([0-9a-f]+)/.exec(signed)?.[1] ?? '')
    assert.equal((await send('GET', `${daemon.url}${signed}`)).status, 200)
    for (const { token: other } of world.actors.filter(({ role }) => role.startsWith('foreign'))) {
      const answer = await send('GET', `${storage}/open`, { headers: { 'x-auth-token': other } })
      const head = await send('HEAD', `${storage}/open/o`, { headers: { 'x-auth-token': other } })
      told.push(JSON.stringify([answer.headers, answer.text, head.headers]))
    }
    const { text } = await send('GET', `${daemon.url}/v1`, {
      headers: { 'x-auth-user': 'jo@example.org', 'x-auth-key': secret('password for Orbit') },
    })
    told.push(text)
    told.push((await send('GET', storage, { headers: { 'x-auth-token': secret('token for Orbit') } })).text)
    await trySftp(world, { id: world.clients.full.id, secret: secret('password for SFTP') })
    told.push(String(await tryNbd(world, `${secret('token for NBD')}/img-zzzzz`)))
    const upgrade = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': Buffer.alloc(16).toString('base64'),
    }
    for (const [query, protocol] of [
      [`?password=${secret('token of a console')}`, 'binary'],
      ['', `binary, token.${secret('token in a protocol')}`],
    ]) {
      const headers = { ...upgrade, 'sec-websocket-protocol': protocol ?? '' }
      told.push((await send('GET', `${daemon.url}/console/srv-zzzzz/serial${query}`, { headers })).text)
    }
    const { hostname, port } = new URL(daemon.url)
    for (const line of [
      `NONSENSE ${secret('line that is no request')}\r\n\r\n`,
      `GET /1.0/images HTTP/1.1\r\nHost: x y\r\nAuthorization: Bearer ${secret('header of a bad request')}\r\n\r\n`,
    ]) {
      const socket = connect(Number(port), hostname)
      socket.end(line)
      for await (const chunk of socket) told.push(String(chunk))
    }
  })

  test('what is planted in servers, their consoles and SSH', async () => {
    const { daemon } = world
    const { server } = await world.addServer('active')
    const userData = Buffer.from(secret('user data of a server')).toString('base64')
    planted.set('user data in Base64', userData)
    await setUserData(daemon.data, server, userData)
    for (const data of [userData, `${secret('user data that is no Base64')}!`]) {
      const body = { image: world.publicImage, server_type: 'none', user_data: data }
      assert.ok((await ask('POST', '/1.0/servers', body)).status >= 400)
    }
    // The owner is told what is his; everybody else, and he in lists, are not.
    const own = await world.api(token, 'GET', `/1.0/servers/${server}`)
    assert.ok(own.text.includes(userData))
    const activated = await world.api(token, 'POST', `/1.0/servers/${server}/activate_console`)
    const consoleToken = JSON.parse(activated.text).console_token as string
    planted.set('console token', consoleToken)
    for (const path of ['/1.0/servers', '/1.0/volumes', '/1.0/events', `/1.0/servers/${server}/events`])
      await ask('GET', path)
    for (const { role, token: other } of world.actors) {
      if (role.startsWith('foreign')) await ask('GET', `/1.0/servers/${server}`, undefined, other)
    }
    const upgrade = {
      ...{ connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' },
      'sec-websocket-key': Buffer.alloc(16).toString('base64'),
    }
    const url = `${daemon.url}/console/${server}/serial?password=${consoleToken}`
    const attached = await send('GET', url, { headers: upgrade })
    assert.equal(attached.status, 409, attached.text)
    told.push(attached.text)
    for (const name of await readdir(join(daemon.data, 'ssh'))) {
      const text = await readFile(join(daemon.data, 'ssh', name), 'utf8')
      if (!text.includes('PRIVATE KEY')) continue
      const line = text.split('\n').find((line) => line.length > 40 && !line.includes('-')) ?? ''
      planted.set(`private key in ${name}`, line)
    }
    await ask('POST', '/1.0/ssh_keys', {
      public_key: `-----BEGIN OPENSSH PRIVATE KEY-----\n${secret('private key sent as a public one')}`,
    })
    const privateKey = await trySftp(world, { id: secret('name of a user for SFTP'), secret: 'wrong' })
    assert.equal(privateKey, undefined)
  })

  test('files that hold secrets are for their owner alone', async () => {
    const { data } = world.daemon
    const files = await readdir(data, { recursive: true, withFileTypes: true })
    const open: string[] = []
    for (const file of files) {
      const path = join(file.parentPath, file.name)
      const found = await lstat(path).catch(() => undefined)
      if (found && (found.mode & 0o077) !== 0 && !path.startsWith(join(data, 'store'))) open.push(path)
    }
    assert.deepEqual(open, [])
    assert.equal((await lstat(data)).mode & 0o077, 0)
  })

  test('none of it stands in the log, in processes, in settings or in what anybody is told', async () => {
    const { daemon } = world
    const folders = await readdir('/proc')
    const read = (pid: string, name: string) => readFile(join('/proc', pid, name), 'utf8').catch(() => '')
    const parents = new Map<string, string>()
    for (const pid of folders.filter((name) => /^\d+$/.test(name))) {
      const [, parent = ''] = /^PPid:\s*(\d+)$/m.exec(await read(pid, 'status')) ?? []
      parents.set(pid, parent)
    }
    const isOurs = (pid: string): boolean =>
      pid === String(daemon.process.pid) || (parents.has(pid) && isOurs(parents.get(pid) ?? ''))
    const commands: string[] = []
    for (const pid of parents.keys()) {
      const line = await read(pid, 'cmdline')
      if (isOurs(pid)) commands.push(line, await read(pid, 'environ'))
      else if (line.includes(daemon.data)) commands.push(line)
    }
    assert.ok(commands.length > 2, 'processes for SFTP are looked at, too')
    const { stdout } = await execute('bin/image-library', [
      ...['config', 'show', '--config', settings],
      ...(await libraryAt(daemon.data)),
    ])
    for (const other of world.actors) {
      for (const path of [
        '/1.0/images',
        '/1.0/events',
        '/1.0/servers',
        '/1.0/users',
        '/1.0/account',
        '/1.0/api_clients',
      ])
        await ask('GET', path, undefined, other.token)
    }
    assert.ok(daemon.output().includes('"msg":"request"'), 'the log says what was asked')
    const places = {
      log: daemon.output(),
      processes: commands.join('\n'),
      settings: stdout,
      answers: told.join('\n'),
    }
    const found: string[] = []
    for (const [what, value] of planted) {
      assert.ok(value.length > 20, what)
      for (const [place, text] of Object.entries(places)) {
        const at = text.indexOf(value)
        if (at >= 0) found.push(`${what} in ${place}: ${text.slice(Math.max(0, at - 200), at + 80)}`)
      }
    }
    assert.deepEqual(found, [])
  })

  test('nothing of it is kept, but the keys that signatures are made with', async () => {
    await world.catalog.erase()
    const text = await textOfCatalog(world.daemon.data)
    const kept = [...planted].filter(([, value]) => text.includes(value))
    const keys = ['key of temporary URLs', 'key of a container', 'user data in Base64']
    assert.ok(kept.length >= keys.length, 'it is looked where they are')
    assert.deepEqual(
      kept.map(([what]) => what).filter((what) => !keys.includes(what)),
      [],
    )
  })
})
