import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import type { OpenDesk } from './desk.ts'
import type { ProcessSetup } from './process-messages.ts'
import { createSessionProcesses } from './session-processes.ts'

/** Our end of a connection. */
async function openSocket(t: TestContext): Promise<Socket> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address)
  const client = connect(address.port, '127.0.0.1').on('error', () => {})
  const [socket] = (await once(server, 'connection')) as [Socket]
  server.close()
  t.after(() => {
    client.destroy()
    socket.destroy()
  })
  return socket
}

function openProcesses(startProcess: typeof fork) {
  let desks = 0
  const openDesk = () => {
    desks++
    return { [Symbol.asyncDispose]: async () => void desks-- } as unknown as OpenDesk
  }
  const setup = {} as ProcessSetup
  const log = pino({ level: 'silent' })
  const processes = createSessionProcesses({ count: 1, setup, openDesk, log, startProcess })
  return { processes, desks: () => desks }
}

const given = async (t: TestContext, { processes }: ReturnType<typeof openProcesses>) => {
  const socket = await openSocket(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  processes.give(socket, '127.0.0.1', resolve)
  await promise
  return socket
}

test('SFTP processes: one that the system refuses to start costs its connection, and nothing else', async (t) => {
  let starts = 0
  const opened = openProcesses(() => {
    starts++
    throw Object.assign(new Error('spawn ENOMEM'), { code: 'ENOMEM', syscall: 'spawn' })
  })
  for (const times of [1, 2]) {
    assert.ok((await given(t, opened)).destroyed)
    assert.equal(starts, times)
  }
  await opened.processes.stop(0)
})

test('SFTP processes: one that the system does not start is given no more connections, nor waited for', async (t) => {
  const children: ChildProcess[] = []
  const opened = openProcesses((program, options) => {
    const child = fork(program, { ...(options as object), execPath: '/nowhere/node' })
    children.push(child)
    return child
  })
  for (const times of [1, 2]) {
    assert.ok((await given(t, opened)).destroyed)
    assert.equal(children.length, times)
    assert.equal(opened.desks(), 0)
  }
  await opened.processes.stop(0)
})
