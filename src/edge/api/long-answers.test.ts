import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import type { Session } from '#model/session.ts'
import { startApi } from '../../../test/support/api-server.ts'
import { createFakeServers } from '../../../test/support/fake-servers.ts'

/** Bytes of a list, which is far more than the system keeps of a connection whose other end does not read. */
const LENGTH = 40 * MiB

/** An API whose accounts have a long list of servers each. */
async function open(t: TestContext) {
  const fakes = createFakeServers()
  const servers: typeof fakes = {
    ...fakes,
    list: async (session: Session) =>
      (await fakes.list(session)).map((shown) => ({
        ...shown,
        server: { ...shown.server, name: 'x'.repeat(LENGTH) },
      })),
  }
  const server = await startApi({ servers })
  t.after(() => server[Symbol.asyncDispose]())
  return server
}

/** Asks for the list, and reads only its status. */
async function begin(
  t: TestContext,
  url: string,
  token: string,
): Promise<{ socket: Socket; status: number }> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  socket.write(`GET /1.0/servers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`)
  const [head] = (await once(socket, 'data')) as [Buffer]
  socket.pause()
  return { socket, status: Number(head.toString('latin1').split(' ')[1]) }
}

test('long answers: those that nobody reads are bounded together, and leave something to other accounts', async (t) => {
  const { url, token, addClient } = await open(t)
  const sockets: Socket[] = []
  let status = 200
  for (let count = 0; status === 200; count++) {
    assert.ok(count < 4, 'half of all is 128 MiB')
    const answer = await begin(t, url, token)
    sockets.push(answer.socket)
    status = answer.status
  }
  assert.equal(status, 503)
  const other = await addClient()
  assert.equal((await begin(t, url, other.token)).status, 200)
  const { body } = await other.call<{ errors?: string[] }>('GET', '/1.0/servers')
  assert.deepEqual(body.errors, ['too many long lists are under way'])
  assert.ok(sockets.length >= 3, `${sockets.length - 1} lists were sent`)
  for (const socket of sockets) socket.destroy()
  while ((await begin(t, url, token)).status !== 200);
})
