import assert from 'node:assert/strict'
import { createHmac, randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { firstUser, type OrbitUser, send } from '../support/orbit.ts'
import { createRandom } from '../support/random-disk.ts'
import { forEach } from '../support/registration.ts'

const SIZE = 24 << 20
const seed = randomInt(2 ** 31)

describe('hostile clients of Orbit', () => {
  let daemon: Daemon
  let owner: OrbitUser
  const large = randomBytes(SIZE)
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  before(async () => {
    daemon = await startDaemon()
    owner = await firstUser(daemon)
    await owner.send('PUT', '/c', { headers: { 'X-Container-Meta-Temp-URL-Key': 'k' } })
    assert.equal((await owner.send('PUT', '/c/large', { body: large })).status, 201)
    assert.equal((await owner.send('PUT', '/c/small', { body: 'small' })).status, 201)
  })
  const opened: Socket[] = []
  after(async () => {
    agent.destroy()
    for (const socket of opened) socket.destroy()
    await daemon[Symbol.asyncDispose]()
  })

  const ask = (...[method, path, options]: Parameters<OrbitUser['send']>) =>
    owner.send(method, path, { agent, ...options })

  const path = () => new URL(owner.storage).pathname
  const open = async (): Promise<Socket> => {
    const socket = connect({ port: Number(new URL(daemon.url).port), host: '127.0.0.1', allowHalfOpen: true })
    socket.on('error', () => undefined)
    opened.push(socket)
    await once(socket, 'connect')
    return socket
  }
  const head = (line: string, ...headers: string[]) =>
    [`${line} HTTP/1.1`, 'Host: x', `X-Auth-Token: ${owner.token}`, ...headers, '', ''].join('\r\n')

  /** Others are served, quickly, whatever goes on. */
  async function assertUnharmed(): Promise<void> {
    const began = Date.now()
    for (let time = 0; time < 10; time++) {
      assert.equal((await ask('GET', '/c/small')).text, 'small')
    }
    assert.equal((await ask('PUT', '/c/again', { body: 'again' })).status, 201)
    assert.ok(Date.now() - began < 3000, `took ${Date.now() - began} ms`)
    assert.doesNotMatch(daemon.output(), /request failed|unhandled/i)
  }

  const residentMiB = () =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.process.pid}/status`, 'utf8'))?.[1]) / 1024

  test('who reads slowly costs no memory and holds nobody up', async () => {
    const before = residentMiB()
    const sockets = await Promise.all(Array.from({ length: 60 }, open))
    for (const socket of sockets) {
      socket.pause()
      socket.write(head(`GET ${path()}/c/large`))
    }
    await Promise.all(sockets.map((socket) => once(socket, 'readable')))
    await assertUnharmed()
    const grown = residentMiB() - before
    assert.ok(grown < 300, `grown by ${grown} MiB for 60 transfers of ${SIZE >> 20} MiB`)
    for (const socket of sockets) socket.destroy()
    await assertUnharmed()
  })

  test('who writes slowly, or stops, holds nobody up and leaves nothing', async () => {
    const sockets = await Promise.all(Array.from({ length: 60 }, open))
    for (const [n, socket] of sockets.entries()) {
      if (n % 3 === 0) socket.write(`PUT ${path()}/c/slow${n} HTTP/1.1\r\nHost: x\r\nX-Au`)
      else socket.write(head(`PUT ${path()}/c/slow${n}`, 'Content-Length: 50000000'))
      if (n % 3 === 2) socket.write(large.subarray(0, 2_000_000))
    }
    await assertUnharmed()
    for (const socket of sockets) socket.destroy()
    await assertUnharmed()
    assert.doesNotMatch((await ask('GET', '/c')).text, /slow/)
  })

  test('who closes his half gets his answer; who closes it in the middle of a body stores nothing', async () => {
    const whole = await open()
    whole.end(head(`GET ${path()}/c/small`, 'Connection: close'))
    assert.match(await text(whole), /\r\n\r\nsmall$/)
    const half = await open()
    half.end(`${head(`PUT ${path()}/c/half`, 'Content-Length: 10')}half`)
    assert.doesNotMatch(await text(half), /^HTTP\/1.1 2/)
    const chunked = await open()
    chunked.end(`${head(`PUT ${path()}/c/half`, 'Transfer-Encoding: chunked')}4\r\nhalf\r\n`)
    assert.doesNotMatch(await text(chunked), /^HTTP\/1.1 2/)
    assert.equal((await ask('GET', '/c/half')).status, 404)
  })

  test('headers over the limits are refused', async () => {
    const many = Object.fromEntries(Array.from({ length: 91 }, (_, n) => [`x-object-meta-${n}`, 'v']))
    const large = Object.fromEntries(
      Array.from({ length: 20 }, (_, n) => [`x-object-meta-${n}`, 'v'.repeat(250)]),
    )
    for (const [headers, status] of [
      [many, 400],
      [large, 400],
      [{ 'x-object-meta-a': 'v'.repeat(257) }, 400],
      [{ [`x-object-meta-${'n'.repeat(129)}`]: 'v' }, 400],
      [{ 'x-object-meta-': 'v' }, 400],
      [{ 'x-other': 'v'.repeat(8193) }, 400],
      [{ 'x-other': 'v'.repeat(70_000) }, '4(00|31)'],
      [{ 'content-length': '-1' }, 400],
      [{ 'content-length': '1e3' }, 400],
      [{ 'content-length': '99999999999999999999' }, 400],
      [{ 'content-length': '5368709123' }, 413],
      [{ 'x-delete-at': 'soon' }, 400],
    ] as const) {
      const socket = await open()
      const lines = Object.entries({ 'content-length': '0', ...headers }).map(([name, v]) => `${name}: ${v}`)
      socket.write(head(`PUT ${path()}/c/limits`, ...lines, 'Connection: close'))
      const answer = await text(socket).catch(() => '')
      assert.match(
        answer,
        new RegExp(`^HTTP/1.[01] ${status}`),
        `${Object.keys(headers)[0]}: ${answer.slice(0, 80)}`,
      )
    }
    assert.equal((await ask('GET', '/c/limits')).status, 404)
    await assertUnharmed()
  })

  test('paths that are no UTF-8 are refused, and those with tricks are names like others', async () => {
    for (const [bad, status] of [
      ['/c/%ff', 412],
      ['/c/a%00b', 412],
      ['/%00', 412],
      ['/c/%c0%ae%c0%ae/x', 412],
      ['/c/%ed%a0%80', 412],
      [`/c/${'x'.repeat(1025)}`, 400],
      [`/${'x'.repeat(257)}`, 400],
      ['/c?prefix=%ff', 400],
      ['/c?marker=%ff&format=json', 400],
    ] as const) {
      const method = bad.includes('?') ? 'GET' : 'PUT'
      assert.equal((await ask(method, bad, { body: '' })).status, status, bad)
    }
    const names = [
      '../../x',
      '//etc/passwd',
      './y',
      'a/../../b',
      '%2e%2e%2Fz',
      '..%2f..%2fsecret',
      'a%5C..%5Cb',
      '%25%32%65',
      'nul%0a%0d',
    ]
    for (const name of names) {
      assert.equal((await ask('PUT', `/c/${name}`, { body: name })).status, 201, name)
      assert.equal((await ask('GET', `/c/${name}`)).text, name, name)
    }
    const listed = JSON.parse((await ask('GET', '/c?format=json')).text) as { name: string }[]
    for (const name of names)
      assert.ok(
        listed.some((row) => row.name === decodeURIComponent(name)),
        name,
      )
    for (const name of names) assert.equal((await ask('DELETE', `/c/${name}`)).status, 204, name)
    await assertUnharmed()
  })

  test('ranges by the thousand, good and bad, cost little', async (t) => {
    t.diagnostic(`seed ${seed}`)
    const random = createRandom(seed)
    const number = () =>
      ['', '0', '1', String(Math.floor(random() * SIZE * 1.2)), '9'.repeat(30), '-1', 'x', '0x1'][
        Math.floor(random() * 8)
      ]
    const range = () =>
      Array.from({ length: 1 + Math.floor(random() ** 4 * 700) }, () => `${number()}-${number()}`)
    const times = Array.from({ length: 1500 }, (_, n) => n)
    await forEach(times, 8, async () => {
      const headers = { range: `${random() < 0.95 ? 'bytes' : 'items'}=${range().join(',')}` }
      const { status } = await ask('GET', '/c/small', { headers })
      assert.ok([200, 206, 400, 416].includes(status), `${status} for ${headers.range.slice(0, 200)}`)
    })
    const overlapping = `bytes=${Array.from({ length: 600 }, () => '0-').join(',')}`
    const { body } = await ask('GET', '/c/large', { headers: { range: overlapping } })
    assert.ok(body.length <= SIZE + 1000, 'not six hundred times the object')
    await assertUnharmed()
  })

  test('forged signatures, tokens and keys are refused, however many', async () => {
    const object = `${owner.storage}/c/small`
    const expires = Math.floor(Date.now() / 1000) + 100
    const signed = `GET\n${expires}\n${path()}/c/small`
    const right = createHmac('sha256', 'k').update(signed).digest('hex')
    const url = (signature: string, more = '') =>
      `${object}?temp_url_sig=${signature}&temp_url_expires=${expires}${more}`
    assert.equal((await send('GET', url(right))).status, 200)
    const forged = [
      ...Array.from({ length: 500 }, (_, n) => url(randomBytes([20, 32, 64][n % 3] ?? 20).toString('hex'))),
      ...[
        '',
        'x',
        right.slice(1),
        `${right}0`,
        right.toUpperCase().replace(/\d/, 'A'),
        'sha256:',
        'md5:AAAA',
        `sha256:${'A'.repeat(5000)}`,
      ].map((it) => url(it)),
      url(right).replace(String(expires), String(expires + 1)),
      url(right).replace(String(expires), `${expires}.0`),
      url(right).replace(String(expires), '9'.repeat(400)),
      url(right).replace(String(expires), 'NaN'),
      url(right, '&temp_url_prefix='),
      url(right, '&temp_url_ip_range=0.0.0.0/0'),
      url(right).replace('small', 'large'),
      `${object}?temp_url_sig=${right}`,
    ]
    await forEach(forged, 8, async (it) => {
      assert.equal((await send('GET', it, { agent })).status, 401, it.slice(-200))
    })
    const tokens = Array.from({ length: 300 }, (_, n) => randomBytes(n % 70).toString('base64'))
    await forEach(tokens, 8, async (token) => {
      assert.equal((await send('GET', object, { agent, headers: { 'x-auth-token': token } })).status, 401)
    })
    await assertUnharmed()
  })

  test('listings with parameters without end are answered or refused at once', async (t) => {
    t.diagnostic(`seed ${seed}`)
    const long = 'x'.repeat(6000)
    const queries = [
      `limit=${'9'.repeat(3000)}`,
      'limit=10001',
      'limit=-1',
      'limit=1e9',
      'limit=0x10',
      'limit=',
      `prefix=${long}`,
      `delimiter=${long}`,
      `marker=${long}&end_marker=${long}&prefix=${long.slice(0, 900)}`,
      `path=${long}`,
      'format=%00',
      `format=${long}`,
      'reverse=on&marker=&end_marker=zzz&delimiter=%2F&prefix=%25_%5B*%27%22%3B--',
      'delimiter=%25',
      'prefix=%25&delimiter=_',
      'prefix=%27%20OR%201%3D1--',
      'prefix=a&prefix=b&prefix=c',
      Array.from({ length: 3000 }, (_, n) => `p${n % 9}=`).join('&'),
      Array.from({ length: 1500 }, () => 'limit=1').join('&'),
      '&&&&====&&&',
      `${'%'.repeat(200)}`,
    ]
    const began = Date.now()
    for (const query of queries) {
      for (const where of ['', '/c']) {
        const { status } = await ask('GET', `${where}?${query}`)
        assert.ok([200, 204, 400, 412, 414, 431].includes(status), `${status} for ${query.slice(0, 60)}`)
      }
    }
    const huge = await ask('GET', `/c?${'a=b&'.repeat(1_000_000)}`).catch(() => undefined)
    assert.ok(huge === undefined || [400, 414, 431].includes(huge.status), `${huge?.status}`)
    assert.ok(Date.now() - began < 5000, `${Date.now() - began} ms`)
    await assertUnharmed()
  })

  test('bodies that are instructions are bounded too', async () => {
    const manifest = '/c/m?multipart-manifest=put'
    const entries = JSON.stringify(Array.from({ length: 1001 }, () => ({ path: '/c/small' })))
    for (const [target, body, statuses] of [
      [manifest, '['.repeat(4 << 20), [400, 413]],
      [manifest, entries, [413]],
      [manifest, `[{"path": "/c/small", "x": ${'1'.repeat(8 << 20)}}]`, [400, 413]],
      [manifest, '{"__proto__": []}', [400]],
      [manifest, '[{"path": "/c/../../etc/passwd"}]', [400]],
      [manifest, '[{"data": "no base64 !"}, {"path": "/c/small"}]', [400]],
      [manifest, '\u0000', [400]],
    ] as const) {
      const { status } = await ask('PUT', target, { body })
      assert.ok((statuses as readonly number[]).includes(status), `${status} for ${body.slice(0, 40)}`)
    }
    const headers = { 'content-type': 'text/plain', accept: 'application/json' }
    const lines = [...Array.from({ length: 10_001 }, (_, n) => `/c/none${n}`), 'x'.repeat(100_000)]
    const deleted = await ask('POST', '?bulk-delete', { headers, body: lines.join('\n') })
    assert.equal(deleted.status, 200)
    assert.match(deleted.text, /"Response Status": ?"4\d\d /)
    await assertUnharmed()
  })
})
