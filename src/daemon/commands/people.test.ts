import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mock, test } from 'node:test'
import type { AuthResult } from '#control/auth/auth.ts'
import { createAuth } from '#control/auth/create-auth.ts'
import { openCatalog } from '#control/catalog/catalog.ts'
import { catalogPath } from '../data-folder.ts'
import { main } from '../main.ts'

const APPLICATION = { id: 'app-12345', secret: 'mocbuipbiaa6k6c' }
const EMAIL = 'jo@example.com'
const KEY_BLOB = Buffer.concat([
  Buffer.from([0, 0, 0, 11]),
  Buffer.from('ssh-ed25519'),
  Buffer.from([0, 0, 0, 32]),
  Buffer.alloc(32, 7),
])
const KEY = `ssh-ed25519 ${KEY_BLOB.toString('base64')} jo`

/** A data folder with two accounts, a client and a user, as a running library has it open; and the command. */
async function openData() {
  const data = await mkdtemp(join(tmpdir(), 'people-'))
  const catalog = await openCatalog({ path: catalogPath(data) })
  const auth = createAuth({ catalog, now: Date.now })
  const run = async (...args: string[]) => {
    const lines: string[] = []
    const print = (line: string) => void lines.push(line)
    const mocks = [mock.method(console, 'log', print), mock.method(console, 'error', print)]
    try {
      return { code: await main([...args, '--data', data]), text: lines.join('\n') }
    } finally {
      for (const { mock } of mocks) mock.restore()
    }
  }
  const accounts = [
    (await auth.operator.createAccount({ name: 'One' })).id,
    (await auth.operator.createAccount({ name: 'Two' })).id,
  ] as const
  const { client, secret } = await auth.operator.createClient(accounts[0], {})
  const made = await run('user', 'create', EMAIL, '--account', accounts[0], '--account', accounts[1])
  assert.equal(made.code, 0, made.text)
  const password = lastWord(made.text)
  const asUser = (key = password) =>
    auth.issue(APPLICATION, { grantType: 'password', username: EMAIL, password: key })
  const asClient = () => auth.issue({ id: client.id, secret }, { grantType: 'client_credentials' })
  return {
    ...{ auth, catalog, accounts, client, run, asUser, asClient },
    async [Symbol.asyncDispose]() {
      await catalog[Symbol.asyncDispose]()
      await rm(data, { recursive: true })
    },
  }
}

const lastWord = (text: string) => text.split(/\s+/).at(-1) ?? ''
const granted = <T>(result: AuthResult<T>): T => (result.ok ? result.value : assert.fail(result.description))

test('people: who and what there is not is one line that names it, and changes nothing', async () => {
  await using at = await openData()
  const cases: [string[], RegExp][] = [
    [['account', 'suspend', 'acc-zzzzz'], /account acc-zzzzz does not exist/],
    [['account', 'resume', 'acc-zzzzz'], /account acc-zzzzz does not exist/],
    [['client', 'revoke', 'cli-zzzzz'], /API client cli-zzzzz does not exist/],
    [['user', 'password', 'nobody@example.com'], /user nobody@example.com does not exist/],
    [['user', 'remove', 'nobody@example.com'], /user nobody@example.com does not exist/],
    [['user', 'remove', EMAIL, '--account', 'acc-zzzzz'], /is no member of account acc-zzzzz/],
  ]
  for (const [args, message] of cases) {
    const { code, text } = await at.run(...args)
    assert.equal(code, 1, args.join(' '))
    assert.match(text, message)
  }
  granted(await at.asClient())
  granted(await at.asUser())
})

test('people: an account that was closed is neither suspended nor resumed', async () => {
  await using at = await openData()
  await at.catalog.accounts.setStatus(at.accounts[0], 'closed')
  for (const verb of ['suspend', 'resume']) {
    const { code, text } = await at.run('account', verb, at.accounts[0])
    assert.equal(code, 1)
    assert.match(text, /is closed/)
  }
  assert.equal((await at.catalog.accounts.find(at.accounts[0]))?.status, 'closed')
})

test('account suspend: nobody acts on it until account resume, and each may be said twice', async () => {
  await using at = await openData()
  const { accessToken } = granted(await at.asClient())
  for (let times = 0; times < 2; times++) {
    assert.match((await at.run('account', 'suspend', at.accounts[0])).text, /suspended\s+One/)
    await assert.rejects(at.auth.authenticate(accessToken), { code: 'denied' })
  }
  assert.match((await at.run('account', 'list')).text, new RegExp(`${at.accounts[0]} +suspended`))
  for (let times = 0; times < 2; times++) {
    assert.match((await at.run('account', 'resume', at.accounts[0])).text, /active\s+One/)
    granted(await at.auth.authenticate(accessToken))
  }
})

test('client revoke: its secret and its tokens are no good any more, and it may be said twice', async () => {
  await using at = await openData()
  const { accessToken } = granted(await at.asClient())
  const first = await at.run('client', 'revoke', at.client.id)
  assert.match(first.text, new RegExp(`${at.client.id} +${at.accounts[0]} +20\\d\\d-`))
  assert.equal((await at.run('client', 'revoke', at.client.id)).text, first.text)
  assert.equal((await at.auth.authenticate(accessToken)).ok, false)
  assert.equal((await at.asClient()).ok, false)
})

test('user password: the old one and its tokens are no good any more, the new one is', async () => {
  await using at = await openData()
  const { accessToken } = granted(await at.asUser())
  const { code, text } = await at.run('user', 'password', EMAIL)
  assert.equal(code, 0, text)
  assert.equal((await at.auth.authenticate(accessToken)).ok, false)
  assert.equal((await at.asUser()).ok, false)
  granted(await at.asUser(lastWord(text)))
})

test('user remove: with an account he keeps the others, and without the last there is no such user', async () => {
  await using at = await openData()
  const { accessToken } = granted(await at.asUser())
  const session = granted(await at.auth.authenticate(accessToken))
  const { id } = await at.auth.keys.add(session, { line: KEY })
  const [one, two] = at.accounts
  assert.match((await at.run('user', 'remove', EMAIL, '--account', one)).text, new RegExp(`${two}$`))
  assert.equal(granted(await at.auth.authenticate(accessToken)).accountId, two)
  await assert.rejects(at.auth.authenticate(accessToken, one), { code: 'not_found' })
  assert.match((await at.run('user', 'remove', EMAIL, '--account', two)).text, /none: removed$/)
  assert.equal((await at.auth.authenticate(accessToken)).ok, false)
  assert.equal((await at.asUser()).ok, false)
  assert.equal(await at.catalog.sshKeys.find(id), undefined)
  assert.equal((await at.run('user', 'create', EMAIL, '--account', one)).code, 0, 'the address is free again')
})
