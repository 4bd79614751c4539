import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import ssh2, { type ConnectConfig } from 'ssh2'
import { exampleBytes } from '#data/content/content.fixtures.ts'
import { makePair } from './host-key.ts'
import { openFixture } from './sftp.fixtures.ts'
import { logIn, openSftp } from './ssh-client.fixtures.ts'
import { createSshServer, type SshLimits } from './ssh-server.ts'

const LIMITS: SshLimits = { graceMs: 10_000, tries: 6, idleMs: 60_000, handles: 256 }
const hostKey = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 }).private

async function listen(t: TestContext, limits: Partial<SshLimits> = {}) {
  const fixture = await openFixture(t)
  const desk = fixture.openDesk()
  const bugs: unknown[] = []
  const server = createSshServer({
    hostKeys: [hostKey],
    desk,
    contents: fixture.contents,
    limits: { ...LIMITS, ...limits },
    now: Date.now,
    onBug: (error) => bugs.push(error),
  })
  const served: Promise<void>[] = []
  const listener = createServer({ pauseOnConnect: true }, (socket) => {
    served.push(server.serve(socket, '127.0.0.1'))
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  t.after(async () => {
    listener.close()
    await server.stop(0)
    await Promise.all(served)
    await desk[Symbol.asyncDispose]()
    assert.deepEqual(bugs, [])
  })
  return { ...fixture, server, port, served, login: (config: ConnectConfig = {}) => logIn(t, port, config) }
}

for (const cipher of [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'aes128-ctr',
  'aes256-ctr',
] as const) {
  test(`ssh: ${cipher} carries bytes both ways, over new keys too`, async (t) => {
    const { login, read } = await listen(t)
    const { client, sftp: open } = await login({ algorithms: { cipher: [cipher] } })
    const sftp = await open()
    const bytes = exampleBytes(3_000_000)
    await sftp.write('/c/a', bytes)
    assert.ok((await read('a')).equals(bytes))
    const reading = sftp.read('/c/a')
    const inside = client as unknown as { _protocol: { rekey(): void } }
    inside._protocol.rekey()
    await once(client, 'handshake')
    assert.ok((await reading).equals(bytes))
    await sftp.write('/c/b', bytes)
    assert.ok((await sftp.read('/c/b')).equals(bytes))
  })
}

test('ssh: what would be slow or weak is not offered', async (t) => {
  const { login } = await listen(t)
  for (const algorithms of [
    { cipher: ['chacha20-poly1305@openssh.com'] },
    { cipher: ['aes128-cbc'] },
    { kex: ['diffie-hellman-group1-sha1'] },
    { compress: ['zlib@openssh.com'] },
    { cipher: ['aes128-ctr'], hmac: ['hmac-sha1'] },
  ] as ssh2.Algorithms[]) {
    await assert.rejects(login({ algorithms }), /no matching/)
  }
})

test('ssh: passwords are tried so many times, and then the connection ends', async (t) => {
  const { port, login } = await listen(t, { tries: 3 })
  await assert.rejects(login({ password: 'wrong' }), /authentication methods failed/)
  await assert.rejects(login({ username: 'x'.repeat(2000) }), /authentication methods failed/)
  let attempts = 0
  const client = new ssh2.Client()
  client.on('error', () => {})
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
  client.connect({
    host: '127.0.0.1',
    port,
    username: 'owner',
    authHandler: (_left, _partial, next) => {
      attempts++
      next({ type: 'password', username: 'owner', password: `wrong ${attempts}` })
    },
  })
  await closed
  assert.equal(attempts, 3)
})

test('ssh: a key lets in who can sign with it', async (t) => {
  const { login } = await listen(t)
  for (const pair of [
    await makePair('ed25519'),
    ssh2.utils.generateKeyPairSync('rsa', { bits: 2048 }),
    ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 }),
  ]) {
    const { sftp } = await login({ password: '', privateKey: pair.private })
    assert.equal((await (await sftp()).list('/')).length > 0, true)
    await assert.rejects(login({ username: 'nobody', password: '', privateKey: pair.private }), /failed/)
  }
})

test('ssh: there is nothing but the subsystem sftp', async (t) => {
  const { login } = await listen(t)
  const { client, sftp } = await login()
  await assert.rejects(promisify(client.exec.bind(client) as never)('id' as never), /Unable to exec/)
  await assert.rejects(promisify(client.shell.bind(client) as never)(), /Unable to|denied|refused/i)
  await assert.rejects(promisify(client.subsys.bind(client))('netconf'), /Unable to start subsystem/)
  await assert.rejects(promisify(client.forwardIn.bind(client))('127.0.0.1', 0), /Unable to bind/)
  const forward = promisify(client.forwardOut.bind(client))
  await assert.rejects(forward('127.0.0.1', 1, '127.0.0.1', 22), /Channel open failure/)
  assert.ok((await (await sftp()).list('/')).some(({ filename }) => filename === 'c'))
})

test('ssh: channels of a connection are bounded', async (t) => {
  const { login } = await listen(t)
  const { client } = await login()
  for (let count = 0; count < 16; count++) await openSftp(client)
  await assert.rejects(openSftp(client), /open failure|Channel/)
})

test('ssh: all channels of a connection have so many files open, and closing one makes room', async (t) => {
  const { login } = await listen(t, { handles: 3 })
  const { client } = await login()
  const [one, other] = [await openSftp(client), await openSftp(client)]
  const opening = (of: typeof one) => (path: string) =>
    new Promise<Buffer>((resolve, reject) => {
      of.sftp.open(path, 'w', (error, handle) => (error ? reject(error) : resolve(handle)))
    })
  await Promise.all(['a', 'b'].map((name) => opening(one)(`/c/${name}`)))
  const handle = await opening(other)('/c/c')
  await assert.rejects(opening(one)('/c/d'), /too many open files/)
  await assert.rejects(other.list('/c'), /too many open files/)
  await promisify<Buffer, void>(other.sftp.close.bind(other.sftp))(handle)
  await opening(one)('/c/d')
  one.sftp.end()
  while (true) {
    try {
      await other.list('/c')
      return
    } catch {
      // What the channel left open is closed once its end is known.
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
})

test('ssh: who does not log in, or is no SSH client, is not waited for', async (t) => {
  const { port } = await listen(t, { graceMs: 150 })
  for (const hello of [
    '',
    'SSH-2.0-x\r\n',
    'GET / HTTP/1.1\r\n\r\n',
    '\0'.repeat(100_000),
    'SSH-1.5-old\r\n',
  ]) {
    const socket: Socket = connect(port, '127.0.0.1')
    socket.on('error', () => {}).on('data', () => {})
    socket.write(hello)
    await once(socket, 'close')
  }
})

test('ssh: a connection with nothing to do ends, and one that moves bytes does not', async (t) => {
  const { login, put } = await listen(t, { idleMs: 400 })
  await put('a', exampleBytes(100_000))
  const idle = await login()
  const busy = await login()
  const { read } = await busy.sftp()
  let isOpen = true
  void busy.closed.then(() => (isOpen = false))
  const reading = (async () => {
    for (let count = 0; count < 12; count++) {
      await read('/c/a')
      await delay(60)
    }
  })()
  await idle.closed
  await reading
  assert.ok(isOpen)
  await busy.closed
})

test('ssh: stopping ends what has nothing open at once, and the rest in time', async (t) => {
  const { login, server, served, names } = await listen(t)
  const idle = await login()
  const busy = await login()
  const { sftp } = await busy.sftp()
  const handle: Buffer = await promisify(sftp.open.bind(sftp) as never)('/c/a' as never, 'w' as never)
  await promisify(sftp.write.bind(sftp) as never)(...([handle, Buffer.from('abc'), 0, 3, 0] as never[]))
  const stopped = server.stop(800)
  await idle.closed
  assert.equal(served.length, 2)
  await busy.closed
  await stopped
  await Promise.all(served)
  assert.deepEqual(await names(), ['a'], 'what came can be gone on with')
})

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

/** Bytes in buffers that somebody still has. */
function heldBytes(): number {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

test('ssh: a client that asks and does not read is not listened to', async (t) => {
  const { login, put } = await listen(t)
  await put('a', exampleBytes(1_000_000))
  const { client, sftp: open } = await login()
  const { sftp } = await open()
  const handle: Buffer = await promisify(sftp.open.bind(sftp) as never)('/c/a' as never, 'r' as never)
  const socket = (client as unknown as { _sock: Socket })._sock
  socket.pause()
  let answers = 0
  const buffer = Buffer.alloc(200_000)
  for (let count = 0; count < 1000; count++) sftp.read(handle, buffer, 0, 200_000, 0, () => answers++)
  const before = heldBytes()
  await delay(300)
  assert.ok(heldBytes() - before < 96 << 20)
  socket.resume()
  while (answers < 1000) await delay(20)
})
