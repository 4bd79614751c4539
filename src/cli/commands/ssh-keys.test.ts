import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { answerJson, problem, startFakeApi } from '../../../test/support/fake-api.ts'
import { clientSection, openCli } from '../../../test/support/run-cli.ts'

async function open() {
  const api = await startFakeApi()
  const cli = await openCli(clientSection(api.url, 'default_account = acc-12345\n'))
  const close = async () => {
    await cli[Symbol.asyncDispose]()
    await api[Symbol.asyncDispose]()
  }
  return { api, cli, [Symbol.asyncDispose]: close }
}

const A = '?account_id=acc-12345'
const KEY = {
  id: 'key-12345',
  name: 'jo@laptop',
  key_type: 'ssh-ed25519',
  fingerprint: 'SHA256:abc',
  public_key: 'ssh-ed25519 AAAA',
  created_at: '2026-11-23T09:00:00.000Z',
  user: { id: 'usr-12345' },
  api_client: null,
}

test('ssh-keys list: whose they are and how ssh-keygen calls them', async () => {
  await using at = await open()
  at.api.on(
    'GET /1.0/ssh_keys',
    answerJson([KEY, { ...KEY, id: 'key-2', user: null, api_client: { id: 'cli-1' } }]),
  )
  const { out, code } = await at.cli.run('-s', 'ssh-keys')
  assert.equal(code, 0)
  assert.deepEqual(out.trimEnd().split('\n'), [
    'key-12345\tusr-12345\tssh-ed25519\t2026-11-23\tSHA256:abc\tjo@laptop',
    'key-2\tcli-1\tssh-ed25519\t2026-11-23\tSHA256:abc\tjo@laptop',
  ])
  assert.deepEqual(at.api.lines, [`GET /1.0/ssh_keys${A}`])
})

test('ssh-keys add: sends the line of the file, and whom it lets in', async () => {
  await using at = await open()
  at.api.on('POST /1.0/ssh_keys', answerJson(KEY, 201))
  const file = join(at.cli.folder, 'id.pub')
  await writeFile(file, `${KEY.public_key} jo@laptop\n`)
  const { err, code } = await at.cli.run('ssh-key', 'add', file, '--api-client', 'cli-12345', '-n', 'ci')
  assert.equal(code, 0)
  assert.match(err, /Added SHA256:abc for usr-12345/)
  const body = { public_key: 'ssh-ed25519 AAAA jo@laptop', name: 'ci', api_client: 'cli-12345' }
  assert.deepEqual(at.api.lines, [`POST /1.0/ssh_keys${A} ${JSON.stringify(body)}`])
})

test('ssh-keys add: a private key is never sent, nor what is no file or too long', async () => {
  await using at = await open()
  const file = join(at.cli.folder, 'id')
  for (const [content, message] of [
    ['-----BEGIN OPENSSH PRIVATE KEY-----\nx\n', /private key, which should never leave/],
    ['PuTTY-User-Key-File-2: ssh-rsa\n', /private key/],
    ['x'.repeat(17_000), /too long/],
  ] as const) {
    await writeFile(file, content)
    const { err, code } = await at.cli.run('ssh-keys', 'add', file)
    assert.equal(code, 1)
    assert.match(err, message)
  }
  assert.match((await at.cli.run('ssh-keys', 'add', `${file}.pub`)).err, /read .*id\.pub: ENOENT/)
  assert.match((await at.cli.run('ssh-keys', 'add')).err, /must specify the file/)
  assert.deepEqual(at.api.lines, [])
})

test('ssh-keys remove: every one that is named, up to one that does not exist', async () => {
  await using at = await open()
  at.api.on('DELETE /1.0/ssh_keys/key-12345', answerJson(KEY))
  at.api.on('DELETE /1.0/ssh_keys/key-zzzzz', problem(404, 'missing_resource', 'SSH key does not exist'))
  const { err, code } = await at.cli.run('ssh-keys', 'remove', 'key-12345', 'key-zzzzz')
  assert.equal(code, 1)
  assert.match(err, /Removing SSH key key-12345[\s\S]*remove SSH key key-zzzzz: SSH key does not exist/)
  assert.match((await at.cli.run('ssh-keys', 'remove')).err, /must specify the SSH keys/)
})

test('config client_add: an API client for object storage alone has no account to choose, and is kept', async () => {
  await using at = await open()
  at.api.on('GET /1.0/accounts', problem(403, 'forbidden', 'not allowed'))
  const { err, code } = await at.cli.run('config', 'client_add', 'cli-store', 'secret', at.api.url)
  assert.equal(code, 0)
  assert.match(err, /object storage \(Orbit\) only/)
  assert.match((await at.cli.run('-s', 'config', 'client_list')).out, /cli-store/)
})
