import assert from 'node:assert/strict'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { json, problem, startFakeApi, unauthorized } from '../../test/support/fake-api.ts'
import { clientSection, openCli } from '../../test/support/run-cli.ts'
import { needs } from '../../test/support/tools.ts'
import { makeCertificate } from '../../test/support/web-server.ts'

const TOKEN = 'POST /token {"grant_type":"client_credentials"}'
const LIST = ['zones', 'list'] as const

const userSection = (url: string, extra = '') => `[core]
default_client = jo@example.com

[jo@example.com]
alias = jo@example.com
username = jo@example.com
api_url = ${url}
default_account = acc-12345
${extra}`

async function open(config: (url: string) => string, token: string | null) {
  const api = await startFakeApi()
  api.on('GET /1.0/zones', (request, response) => {
    if (request.headers.authorization === 'Bearer fresh-token') json(response, 200, [])
    else void unauthorized(request, response)
  })
  const cli = await openCli(config(api.url), token)
  const keep = (name: string) => readFile(join(cli.folder, name), 'utf8')
  const close = async () => {
    await cli[Symbol.asyncDispose]()
    await api[Symbol.asyncDispose]()
  }
  return { api, cli, keep, [Symbol.asyncDispose]: close }
}

test('tokens: without one the first request gets one, which is kept for its owner alone', async () => {
  await using at = await open(clientSection, null)
  const { out, err, code } = await at.cli.run(...LIST)
  assert.deepEqual([out, err, code], ['\n', '', 0])
  assert.deepEqual(at.api.lines, [TOKEN, 'GET /1.0/zones'])
  const basic = Buffer.from('cli-12345:abcdefghijklmno').toString('base64')
  assert.equal(at.api.requests[0]?.headers.authorization, `Basic ${basic}`)
  assert.equal(await at.keep('cli-12345.oauth_token'), 'fresh-token')
  assert.equal((await stat(join(at.cli.folder, 'cli-12345.oauth_token'))).mode & 0o777, 0o600)
})

test('tokens: a stale one is replaced once, and the request sent again', async () => {
  await using at = await open(clientSection, 'stale')
  const { err, code } = await at.cli.run(...LIST)
  assert.deepEqual([err, code], ['', 0])
  assert.deepEqual(at.api.lines, ['GET /1.0/zones', TOKEN, 'GET /1.0/zones'])
})

test('tokens: refused again with a new one, the command ends with 222', async () => {
  await using at = await open(clientSection, 'stale')
  at.api.on('GET /1.0/zones', unauthorized)
  const { out, err, code } = await at.cli.run(...LIST)
  assert.match(err, /^Your API credentials have been updated, please re-run your command\.\nHINT: /)
  assert.deepEqual([out, code], ['', 222])
})

for (const [status, message] of [
  [401, 'Unable to authenticate with supplied details'],
  [400, 'ERROR: Unable to reauthenticate!'],
] as const) {
  test(`tokens: credentials refused with ${status} end the command with 111`, async () => {
    await using at = await open(clientSection, 'stale')
    at.api.on('POST /token', (_request, response) => json(response, status, { error: 'invalid_client' }))
    const { out, err, code } = await at.cli.run(...LIST)
    assert.equal(err.split('\n')[0], message)
    assert.deepEqual([out, code], ['', 111])
    assert.deepEqual(at.api.lines, ['GET /1.0/zones', TOKEN])
  })
}

test('tokens: a token endpoint that is none is an error about its address', async () => {
  await using at = await open(clientSection, null)
  at.api.on('POST /token', (_request, response) => void response.end('<html>'))
  const { err, code } = await at.cli.run(...LIST)
  assert.match(
    err,
    /^ERROR: get a token from http:\/\/127\.0\.0\.1:\d+: unexpected answer \(HTTP 200\)\nHINT: /,
  )
  assert.equal(code, 1)
})

test('tokens: a user gets new ones by the refresh token, and both are kept', async () => {
  await using at = await open(userSection, null)
  await writeFile(join(at.cli.folder, 'jo@example.com.refresh_token'), 'refresh-1\n')
  const { code } = await at.cli.run(...LIST)
  assert.equal(code, 0)
  assert.equal(at.api.lines[0], 'POST /token {"grant_type":"refresh_token","refresh_token":"refresh-1"}')
  const basic = Buffer.from('app-12345:mocbuipbiaa6k6c').toString('base64')
  assert.equal(at.api.requests[0]?.headers.authorization, `Basic ${basic}`)
  assert.equal(await at.keep('jo@example.com.refresh_token'), 'refresh-2')
  assert.equal(await at.keep('jo@example.com.oauth_token'), 'fresh-token')
})

test('tokens: a refused refresh token is followed by the password of the helper, without a word', async () => {
  await using at = await open((url) => userSection(url, "password_helper_command = printf 'pw\\n'"), null)
  await writeFile(join(at.cli.folder, 'jo@example.com.refresh_token'), 'refresh-1')
  const refused = (_: unknown, response: Parameters<typeof json>[0]) =>
    json(response, 400, { error: 'invalid_grant' })
  const token = { access_token: 'fresh-token', token_type: 'Bearer' }
  at.api.on('POST /token', refused, (_request, response) => json(response, 200, token))
  const { err, code } = await at.cli.run(...LIST)
  assert.deepEqual([err, code], ['', 0])
  assert.equal(
    at.api.lines[1],
    'POST /token {"grant_type":"password","username":"jo@example.com","password":"pw"}',
  )
})

test('tokens: a second factor is asked of its helper and sent as a header', async () => {
  const helpers = 'password_helper_command = echo pw\ntwo_factor_helper_command = echo 123456'
  await using at = await open((url) => userSection(url, helpers), null)
  const token = { access_token: 'fresh-token', token_type: 'Bearer' }
  at.api.on(
    'POST /token',
    (_request, response) => {
      response.setHeader('X-Brightbox-OTP', 'required')
      json(response, 401, { error: 'invalid_client' })
    },
    (_request, response) => json(response, 200, token),
  )
  const { code } = await at.cli.run(...LIST)
  assert.equal(code, 0)
  assert.equal(at.api.requests[0]?.headers['x-brightbox-otp'], undefined)
  assert.equal(at.api.requests[1]?.headers['x-brightbox-otp'], '123456')
})

test('tokens: a password may come by a pipe; none at all is refused', async () => {
  await using at = await open(userSection, null)
  const piped = await at.cli.runWith({ stdin: 'secret\n' }, ...LIST)
  assert.deepEqual([piped.out, piped.code], ['\n', 0])
  assert.match(at.api.lines[0] ?? '', /"password":"secret"/)
  await using other = await open(userSection, null)
  const { err, code } = await other.cli.run(...LIST)
  assert.match(
    err,
    /ERROR: You must specify your Brightbox password\.\nHINT: brightbox login jo@example\.com /,
  )
  assert.deepEqual([code, other.api.lines], [1, []])
})

test('token show and create: print in each format, and only create asks', async () => {
  await using at = await open(clientSection, 'stale')
  const text = '    access_token: stale\n      token_type: Bearer\n'
  assert.deepEqual(await at.cli.run('token'), { out: text, err: '', code: 0 })
  assert.equal((await at.cli.run('token', 'show', '--format', 'token')).out, 'stale\n')
  assert.equal(
    (await at.cli.run('token', 'show', '--format=json')).out,
    '{"access_token":"stale","token_type":"Bearer"}\n',
  )
  const curl = (await at.cli.run('token', '--format', 'curl')).out
  assert.equal(curl, `curl -H 'Authorization: Bearer stale' ${at.api.url}/1.0/\n`)
  assert.deepEqual(at.api.lines, [])
  assert.match((await at.cli.run('token', 'create')).out, /^ {4}access_token: fresh-token\n/)
  assert.deepEqual(at.api.lines, [TOKEN])
  const wrong = await at.cli.run('token', 'show', '--format=xml')
  assert.equal(wrong.err, 'ERROR: format must be one of text, token, json, curl\n')
})

test('tokens: one that cannot be kept is used all the same', async () => {
  await using at = await open(clientSection, null)
  await mkdir(join(at.cli.folder, 'cli-12345.oauth_token'))
  const { err, code } = await at.cli.run(...LIST)
  assert.deepEqual([err, code], ['', 0])
})

test('debug: shows the exchange without anything that would let a reader act as us', async () => {
  await using at = await open(clientSection, null)
  at.api.on('GET /1.0/images', problem(500, 'internal', 'it broke'))
  const { out, err } = await at.cli.run('images', 'list', '--debug')
  assert.equal(out, '')
  assert.match(err, /^DEBUG: > POST http:\/\/127\.0\.0\.1:\d+\/token$/m)
  assert.match(err, /^DEBUG: > Authorization: Bearer …$/m)
  assert.match(err, /"access_token":"…"/)
  assert.match(err, /^ERROR: list images: it broke$/m)
  assert.doesNotMatch(err, /fresh-token|abcdefghijklmno|Y2xpLTEyMzQ1/)
})

test('connection: refused, broken and answered by something else are each said plainly', async () => {
  const config = clientSection('http://127.0.0.1:9')
  await using cli = await openCli(config)
  const refused = await cli.run('images')
  assert.match(
    refused.err,
    /^ERROR: list images: cannot reach http:\/\/127\.0\.0\.1:9: connection refused\nHINT: .*\n$/,
  )
  assert.deepEqual([refused.out, refused.code], ['', 1])
  await using at = await open(clientSection, 'fresh-token')
  at.api.on('GET /1.0/images', (_request, response) => void response.destroy())
  assert.match((await at.cli.run('images')).err, /: the connection was dropped\n/)
  at.api.on('GET /1.0/images', (_request, response) => void response.end('<html>'))
  assert.match(
    (await at.cli.run('images')).err,
    /^ERROR: list images: http:.* did not answer with JSON\nHINT: /,
  )
  at.api.on('GET /1.0/images', (_request, response) => void response.writeHead(503).end())
  assert.match((await at.cli.run('images')).err, /^ERROR: list images: Api currently unavailable\nHINT: /)
  at.api.on('GET /1.0/images', (_request, response) => void response.writeHead(302, { Location: '/' }).end())
  assert.match((await at.cli.run('images')).err, /^ERROR: list images: /)
})

test('connection: an unknown certificate is refused, but not with --insecure', needs('openssl'), async () => {
  await using api = await startFakeApi(makeCertificate('IP:127.0.0.1'))
  await using cli = await openCli(clientSection(api.url))
  const refused = await cli.run('images')
  assert.match(
    refused.err,
    /^ERROR: list images: cannot reach https:.*: its certificate .*\nHINT: --insecure /,
  )
  assert.deepEqual([refused.code, api.lines], [1, []])
  assert.equal((await cli.run('-k', 'images')).code, 0)
  assert.equal((await cli.runWith({ env: { INSECURE: '1' } }, 'images')).code, 0)
})

test('account: --account may follow a command, and ACCOUNT wins', async () => {
  await using at = await open(clientSection, 'fresh-token')
  await at.cli.run('zones', '--account', 'acc-33333')
  await at.cli.runWith({ env: { ACCOUNT: 'acc-44444' } }, 'zones', '--account', 'acc-33333')
  assert.deepEqual(at.api.lines, [
    'GET /1.0/zones?account_id=acc-33333',
    'GET /1.0/zones?account_id=acc-44444',
  ])
})
