import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { tellAgent, thawLeft, whileFrozen } from './guest-agent.ts'
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

/** One that can be spoken to, and answers commands like this. */
const speaking = (answer: (command: string) => string | undefined) =>
  agentThat((command, { id }) => (command === 'guest-sync-delimited' ? synced(id) : answer(command)))

const REFUSAL = '{"error": {"desc": "not allowed"}}\n'
const FREEZING = ['guest-sync-delimited', 'guest-fsfreeze-freeze', 'guest-fsfreeze-thaw']

test('guest agent: file systems are frozen meanwhile, past what was said before', async () => {
  await using fake = await agentThat((command, { id }) =>
    command === 'guest-sync-delimited' ? synced(id, '{"return": 7}\n{"half": ') : '{"return": 2}\n',
  )
  const { frozen } = await whileFrozen(fake.folder, async () => {
    assert.deepEqual(fake.heard, FREEZING.slice(0, 2))
  })
  assert.equal(frozen, true)
  assert.deepEqual(fake.heard, FREEZING)
})

test('guest agent: file systems are thawed also where the change fails', async () => {
  await using fake = await speaking(() => '{"return": 2}\n')
  await assert.rejects(
    whileFrozen(fake.folder, () => Promise.reject(new Error('no'))),
    { message: 'no' },
  )
  assert.deepEqual(fake.heard, FREEZING)
})

test('guest agent: one that answers what is no number has frozen nothing', async () => {
  for (const answer of ['{"toString": 1, "valueOf": 1}', '"3"', 'true', 'null', '[3]']) {
    await using fake = await speaking(() => `{"return": ${answer}}\n`)
    const { frozen } = await whileFrozen(fake.folder, async () => {})
    assert.equal(frozen, false, answer)
    assert.deepEqual(fake.heard, FREEZING)
  }
})

test('guest agent: one that cannot freeze does not hinder the change', async () => {
  await using fake = await speaking(() => REFUSAL)
  let changes = 0
  assert.equal((await whileFrozen(fake.folder, async () => void changes++)).frozen, false)
  assert.equal(changes, 1)
  assert.deepEqual(fake.heard, FREEZING)
})

test('guest agent: one that falls silent is waited for, but not for ever', async (t) => {
  await using fake = await speaking(() => undefined)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let changes = 0
  const pause = whileFrozen(fake.folder, async () => void changes++)
  for (const asked of [2, 3]) {
    assert.equal(changes, asked - 2)
    while (fake.heard.length < asked) await setImmediate()
    t.mock.timers.tick(5000)
    while (changes === 0) await setImmediate()
  }
  assert.equal((await pause).frozen, false)
  assert.deepEqual(fake.heard, FREEZING)
})

test('guest agent: one that does not thaw is told of', async () => {
  await using fake = await speaking((command) => (command.endsWith('thaw') ? REFUSAL : '{"return": 1}\n'))
  await assert.rejects(
    whileFrozen(fake.folder, async () => {}),
    { code: 'unavailable', message: /thaw/ },
  )
})

for (const [what, answer] of [
  ['nobody', () => undefined],
  ['one that answers something else', () => synced(1)],
  ['one that says anything', () => 'hello\n'],
  ['one that talks without end', () => 'x'.repeat(5 * 1024 * 1024)],
] as const) {
  test(`guest agent: ${what} is none, and the change is done`, async () => {
    await using fake = await agentThat(answer)
    let changes = 0
    assert.equal((await whileFrozen(fake.folder, async () => void changes++)).frozen, false)
    assert.equal(changes, 1)
    assert.deepEqual(fake.heard, FREEZING.slice(0, 1))
    assert.equal(await tellAgent(fake.folder, 'guest-shutdown', {}), false)
  })
}

test('guest agent: where there is no socket there is no agent', async () => {
  assert.equal(await tellAgent('/nonexistent', 'guest-shutdown', {}), false)
})

test('guest agent: silence is consent to a command that has no answer, an error is not', async () => {
  await using willing = await speaking(() => undefined)
  assert.equal(await tellAgent(willing.folder, 'guest-shutdown', { mode: 'reboot' }), true)
  assert.deepEqual(willing.heard, ['guest-sync-delimited', 'guest-shutdown'])
  await using unwilling = await speaking(() => REFUSAL)
  assert.equal(await tellAgent(unwilling.folder, 'guest-shutdown', {}), false)
})

test('guest agent: what was left frozen is thawed, and nothing else', async () => {
  for (const state of ['frozen', 'thawed'] as const) {
    await using fake = await speaking(() => `{"return": "${state}"}\n`)
    await thawLeft(fake.folder)
    const thawing = state === 'frozen' ? ['guest-fsfreeze-thaw'] : []
    assert.deepEqual(fake.heard, ['guest-sync-delimited', 'guest-fsfreeze-status', ...thawing])
  }
  await thawLeft('/nonexistent')
})
