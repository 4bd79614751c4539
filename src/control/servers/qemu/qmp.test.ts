import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { LineFeed, openQmp, type QmpEvent } from './qmp.ts'

const GREETING = { QMP: { version: {}, capabilities: [] } }

/** A monitor that answers a request with these lines; objects get its id. */
async function monitor(answer: (command: string) => readonly (object | string)[], greeting: object | string) {
  const folder = await mkdtemp(join(tmpdir(), 'qmp-'))
  const path = join(folder, 'monitor.sock')
  const say = (socket: Socket, what: object | string) =>
    socket.write(typeof what === 'string' ? what : `${JSON.stringify(what)}\r\n`)
  const connections: Socket[] = []
  const server = createServer((socket) => {
    connections.push(socket)
    socket.on('error', () => {})
    if (greeting !== '') say(socket, greeting)
    const lines = new LineFeed()
    socket.on('data', (chunk) => {
      for (const line of lines.push(chunk)) {
        const { execute, id } = JSON.parse(line)
        const what = execute === 'qmp_capabilities' ? [{ return: {} }] : answer(execute)
        for (const one of what) say(socket, typeof one === 'string' ? one : { ...one, id })
      }
    })
  }).listen(path)
  await once(server, 'listening')
  const events: QmpEvent[] = []
  return {
    events,
    connections,
    async open(limitMs = 5000) {
      const socket = connect(path)
      await once(socket, 'connect')
      return openQmp({ socket, limitMs, onEvent: (event) => events.push(event) })
    },
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy()
      server.close()
      await rm(folder, { recursive: true })
    },
  }
}

test('QMP: answers and events reach whom they are for', async () => {
  await using fake = await monitor(
    (command) => [{ event: 'RESET', data: { guest: true } }, { return: { command } }],
    GREETING,
  )
  const qmp = await fake.open()
  const answers = await Promise.all([qmp.execute('query-a'), qmp.execute('query-b')])
  assert.deepEqual(answers, [{ command: 'query-a' }, { command: 'query-b' }])
  assert.deepEqual(fake.events[1], { name: 'RESET', data: { guest: true } })
  qmp.close()
  await qmp.closed
  await assert.rejects(qmp.execute('query-a'), { code: 'unavailable' })
})

test('QMP: a refusal says what was asked and why not', async () => {
  await using fake = await monitor(
    () => [{ error: { class: 'GenericError', desc: 'no such node' } }],
    GREETING,
  )
  const qmp = await fake.open()
  await assert.rejects(qmp.execute('blockdev-del', { 'node-name': 'x' }), {
    code: 'unavailable',
    message: 'ask QEMU for blockdev-del: no such node',
  })
  qmp.close()
})

test('QMP: a command without an answer ends, and a late answer is nobody’s', async () => {
  await using fake = await monitor((command) => (command === 'stop' ? [] : [{ return: 1 }]), GREETING)
  const qmp = await fake.open()
  await assert.rejects(qmp.execute('stop', {}, 20), { code: 'unavailable', message: /no answer within/ })
  fake.connections[0]?.write('{"return": "late", "id": 2}\n')
  assert.equal(await qmp.execute('cont'), 1)
  qmp.close()
})

for (const [what, greeting] of [
  ['no greeting', ''],
  ['something else than QMP', 'SSH-2.0-x\r\n'],
  ['an endless line', 'x'.repeat(5 * 1024 * 1024)],
  ['an answer to nobody', { return: {} }],
] as const) {
  test(`QMP: ${what} is no monitor`, async () => {
    await using fake = await monitor(() => [], greeting)
    await assert.rejects(fake.open(200), { code: 'unavailable' })
  })
}

for (const bad of ['{"return": {}\n', 'null and void\n', `"${'x'.repeat(5 * 1024 * 1024)}`]) {
  test(`QMP: what follows ${JSON.stringify(bad.slice(0, 15))} is not waited for`, async () => {
    await using fake = await monitor(() => [bad], GREETING)
    const qmp = await fake.open()
    await assert.rejects(qmp.execute('query-status'), { code: 'unavailable', message: /closed its monitor/ })
    await qmp.closed
  })
}

test('QMP: a monitor that goes away leaves nobody waiting', async () => {
  await using fake = await monitor(() => [], GREETING)
  const qmp = await fake.open()
  const waiting = qmp.execute('query-status')
  fake.connections[0]?.destroy()
  await assert.rejects(waiting, { code: 'unavailable' })
  await qmp.closed
})

test('lines: are the same however they arrive', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), fc.array(fc.nat(20)), (texts, cuts) => {
      const lines = texts.map((text) => text.replaceAll('\n', ' '))
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
      const feed = new LineFeed()
      const got: string[] = []
      let from = 0
      for (const cut of [...cuts, bytes.length]) {
        got.push(...feed.push(bytes.subarray(from, from + cut)))
        from = Math.min(from + cut, bytes.length)
      }
      assert.deepEqual(
        got,
        lines.map((line) => Buffer.from(line).toString()),
      )
    }),
  )
})
