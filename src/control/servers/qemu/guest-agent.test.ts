import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { askAgent, tellAgent } from './guest-agent.ts'
import { LineFeed } from './qmp.ts'

type Answer = (command: string, args: { readonly id?: number }) => string | Buffer | undefined

/** A guest's agent in a server's folder. */
async function agentThat(answer: Answer) {
  const folder = await mkdtemp(join(tmpdir(), 'agent-'))
  const heard: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    const lines = new LineFeed()
    socket.on('data', (chunk) => {
      for (const line of lines.push(chunk)) {
        const { execute, arguments: args } = JSON.parse(line.slice(line.lastIndexOf('\ufffd') + 1))
        heard.push(execute)
        const said = answer(execute, args)
        if (said !== undefined) socket.write(said)
      }
    })
  }).listen(join(folder, 'agent.sock'))
  await once(server, 'listening')
  return {
    folder,
    heard,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await rm(folder, { recursive: true })
    },
  }
}

const synced = (id: number | undefined, before = '') =>
  Buffer.concat([Buffer.from(before), Buffer.of(0xff), Buffer.from(`{"return": ${id}}\n`)])

test('guest agent: one that answers is found, past what was said before', async () => {
  await using fake = await agentThat((command, { id }) =>
    command === 'guest-sync-delimited' ? synced(id, '{"return": 7}\n{"half": ') : '{"return": 2}\n',
  )
  using agent = await askAgent(fake.folder, 5000)
  assert.equal(await agent?.execute('guest-fsfreeze-freeze', {}, 5000), 2)
})

test('guest agent: none is there', async () => {
  await using silent = await agentThat(() => undefined)
  assert.equal(await askAgent(silent.folder, 20), undefined)
  await using old = await agentThat(() => synced(1))
  assert.equal(await askAgent(old.folder, 20), undefined)
  assert.equal(await askAgent('/nonexistent', 20), undefined)
})

test('guest agent: one that says anything, or without end, is none', async () => {
  await using hostile = await agentThat(() => 'hello\n')
  assert.equal(await askAgent(hostile.folder, 5000), undefined)
  await using endless = await agentThat(() => 'x'.repeat(5 * 1024 * 1024))
  assert.equal(await askAgent(endless.folder, 5000), undefined)
})

test('guest agent: silence is consent to a command that has no answer, an error is not', async () => {
  const sync = (command: string, id: number | undefined) =>
    command === 'guest-sync-delimited' ? synced(id) : undefined
  await using willing = await agentThat((command, { id }) => sync(command, id))
  assert.equal(await tellAgent(willing.folder, 'guest-shutdown', { mode: 'reboot' }, 300), true)
  assert.deepEqual(willing.heard, ['guest-sync-delimited', 'guest-shutdown'])
  await using unwilling = await agentThat(
    (command, { id }) => sync(command, id) ?? '{"error": {"desc": "not allowed"}}\n',
  )
  assert.equal(await tellAgent(unwilling.folder, 'guest-shutdown', {}, 5000), false)
})
