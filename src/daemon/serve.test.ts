import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openCatalog } from '#control/catalog/catalog.ts'
import { createDatabase } from '../../test/support/postgres.ts'
import { needs } from '../../test/support/tools.ts'

const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'serve-'))
const children: ChildProcess[] = []
after(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

function start(args: string[], bin = join(root, 'bin/image-library'), env: NodeJS.ProcessEnv = process.env) {
  const child = spawn(bin, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
  children.push(child)
  const output = { text: '' }
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output.text += chunk))
  return {
    child,
    output,
    exit: once(child, 'close').then(() => ({ code: child.exitCode, text: output.text })),
  }
}
const run = (...args: string[]) => start(args).exit

async function serve(data: string, ...args: string[]) {
  const { child, output, exit } = start(['serve', '--data', data, '--http', '127.0.0.1:0', ...args])
  while (!/listens on http:\/\/\S+/.test(output.text)) {
    const outcome = await Promise.race([exit, once(child.stdout, 'data')])
    if ('code' in outcome) assert.fail(`it ended with ${outcome.code}: ${outcome.text}`)
  }
  const url = /listens on (http:\/\/\S+)/.exec(output.text)?.[1] ?? ''
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal)
    return exit
  }
  return { url, output, stop }
}

const iniOf = (data: string) => readFileSync(join(data, 'brightbox.ini'), 'utf8')
const iniValue = (data: string, key: string) =>
  new RegExp(`^${key} = (.*)$`, 'm').exec(iniOf(data))?.[1] ?? ''

async function fetchToken(url: string, data: string) {
  const credentials = btoa(`${iniValue(data, 'client_id')}:${iniValue(data, 'secret')}`)
  const headers = { authorization: `Basic ${credentials}`, 'content-type': 'application/json' }
  return fetch(`${url}/token`, { method: 'POST', headers, body: '{"grant_type":"client_credentials"}' })
}

test('serve: a new folder gets an account, a client, a user and a configuration that works at once', async () => {
  const data = join(folder, 'new')
  const first = await serve(data)
  assert.match(
    first.output.text,
    /account {5}acc-\w{5}\n {2}API client {2}cli-\w{5} {3}secret \w{15,35}\n {2}user/,
  )
  assert.match(first.output.text, /export BRIGHTBOX_CONFIG=\S+brightbox\.ini/)
  assert.equal(statSync(join(data, 'brightbox.ini')).mode & 0o777, 0o600)
  assert.doesNotMatch(iniOf(data), /username/)
  assert.equal(iniValue(data, 'api_url'), first.url)
  assert.equal((await fetchToken(first.url, data)).status, 200)
  const { code } = await first.stop()
  assert.equal(code, 0)

  const again = await serve(data)
  assert.doesNotMatch(again.output.text, /secret/)
  // The library listens elsewhere by now, and the configuration has followed.
  assert.equal(iniValue(data, 'api_url'), again.url)
  assert.equal((await fetchToken(again.url, data)).status, 200)
  assert.equal((await again.stop('SIGINT')).code, 0)
})

test('serve: in a folder that somebody else made, what it makes is closed to others, and it says so', async () => {
  const data = join(folder, 'open')
  mkdirSync(data)
  chmodSync(data, 0o755)
  const { output, stop } = await serve(data)
  assert.match(output.text, /others may look into the data folder/)
  for (const name of readdirSync(data)) {
    assert.equal(statSync(join(data, name)).mode & 0o077, 0, name)
  }
  await stop()
})

test('serve: to stop while another process begins the library is no failure', needs('postgres'), async () => {
  await using database = await createDatabase()
  {
    await using catalog = await openCatalog({ url: database.url })
    const lease = { name: 'bootstrap', holder: 'another', now: Date.now(), lastsMs: 50_000 }
    assert.ok(await catalog.beside(({ leases }) => leases.take(lease)))
  }
  const data = join(folder, 'waiting')
  const places = ['--data', data, '--catalog', database.url]
  const { child, output, exit } = start(['serve', ...places, '--http', '127.0.0.1:0'])
  while (!output.text.includes('Server listening')) {
    const outcome = await Promise.race([exit, once(child.stderr, 'data')])
    if ('code' in outcome) assert.fail(`it ended with ${outcome.code}: ${outcome.text}`)
  }
  child.kill('SIGTERM')
  const { code, text } = await exit
  assert.equal(code, 0, text)
  assert.doesNotMatch(text, /error|listens on/)
})

test('serve: a second process on the same folder is refused, and one after a SIGKILL is not', async () => {
  const data = join(folder, 'locked')
  const first = await serve(data)
  const second = await run('serve', '--data', data, '--http', '127.0.0.1:0')
  assert.equal(second.code, 1)
  assert.match(second.text, /^error: another process serves the data folder .*\nhint: /)
  await first.stop('SIGKILL')
  await (await serve(data)).stop()
})

test('serve: what a new library cannot begin with ends it, and it begins once that is out of the way', async () => {
  const data = join(folder, 'hindered')
  const inTheWay = join(data, 'brightbox.ini.new')
  mkdirSync(inTheWay, { recursive: true })
  const { code, text } = await run('serve', '--data', data, '--http', '127.0.0.1:0', '--sftp', 'none')
  assert.equal(code, 1)
  assert.match(text, /brightbox\.ini/)
  rmSync(inTheWay, { recursive: true })
  const { stop } = await serve(data, '--sftp', 'none')
  assert.equal((await stop()).code, 0)
})

test('serve: a port that is taken is one clear line', async () => {
  const first = await serve(join(folder, 'port'))
  const { host } = new URL(first.url)
  const second = await run('serve', '--data', join(folder, 'port2'), '--http', host)
  assert.equal(second.code, 1)
  assert.match(
    second.text,
    /^error: listen on 127\.0\.0\.1 port \d+: another program listens there already\nhint: .*\n$/,
  )
  await first.stop()
})

test('serve: a live stream and a request under way do not hold up the stop', async () => {
  const data = join(folder, 'stop')
  const { url, stop } = await serve(data)
  const { access_token } = (await (await fetchToken(url, data)).json()) as { access_token: string }
  const headers = { authorization: `Bearer ${access_token}`, accept: 'text/event-stream' }
  const stream = await fetch(`${url}/1.0/events`, { headers })
  assert.equal(stream.status, 200)
  const { code } = await stop()
  assert.equal(code, 0)
  await stream.text()
})

test('operator: commands work on the folder of a running library', async () => {
  const data = join(folder, 'operator')
  const { url, stop } = await serve(data)
  const account = iniValue(data, 'default_account')
  assert.match((await run('account', 'list', '--data', data)).text, new RegExp(`^id .*\n${account} `))
  const created = await run('client', 'create', '--data', data, '--name', 'ci')
  const [, id, secret] = /^(cli-\w{5}) .* (\w+)$/m.exec(created.text) ?? []
  assert.match((await run('client', 'list', '--data', data)).text, new RegExp(`^${id} .*ci$`, 'm'))
  const token = await fetch(`${url}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${id}:${secret}`)}`, 'content-type': 'application/json' },
    body: '{"grant_type":"client_credentials"}',
  })
  assert.equal(token.status, 200)
  assert.match(
    (await run('user', 'create', 'jo@example.com', '--data', data)).text,
    /usr-\w{5} {2}jo@example\.com/,
  )
  const checked = await run('check', '--rate', '50 MiB', '--data', data)
  assert.match(checked.text, /^0 manifests .* nothing is damaged or missing\n$/, 'and no progress in a pipe')
  assert.match((await run('collect', '--dry-run', '--data', data)).text, /^would delete 0 blocks/)
  const storage = await run('client', 'create', '--permissions', 'storage', '--data', data)
  assert.match(storage.text, new RegExp(`^cli-\\w{5} {2}${account} {2}storage `, 'm'))
  const quota = (size: string) => run('account', 'quota', account, size, '--data', data)
  assert.match((await quota('200 GiB')).text, new RegExp(`^${account} {2}200 GiB$`, 'm'))
  assert.match((await quota('none')).text, new RegExp(`^${account} {2}none$`, 'm'))
  assert.match((await quota('lots')).text, /must be none, or a size such as 200GiB/)
  await run('account', 'create', 'Second', '--no-images', '--data', data)
  const several = await run('client', 'create', '--data', data)
  assert.deepEqual([several.code, /--account is required/.test(several.text)], [1, true])
  await stop()
})

test('operator: mistakes are one line and a hint, never a stack trace', async () => {
  const cases = [
    [['check', '--data', join(folder, 'nothing')], /there is no library in it/],
    [
      ['serve', '--data', '/proc/x'],
      /^error: use the data folder \/proc\/x: the system makes no folder there\n$/,
    ],
    [['serve', '--data', import.meta.filename], /serve\.test\.ts: it is not a folder/],
    [['check', '--data', import.meta.filename], /serve\.test\.ts: it is not a folder/],
    [['serve', '--http', 'nonsense'], /http\.listen must be/],
    [['serve', '--config', join(folder, 'none.ini')], /read the settings file/],
    [['image', 'official', 'img-12345', 'maybe'], /true or false/],
    [['check', '--rate', '0'], /1 KiB at least/],
    [['check', '--rate', 'fast'], /1 KiB at least/],
    [['nonsense'], /unknown command/],
    [['serve', '--nonsense'], /unknown option/],
  ] as const
  for (const [args, message] of cases) {
    const { code, text } = await run(...args)
    assert.equal(code, 1, args.join(' '))
    assert.match(text, message)
    assert.doesNotMatch(text, /\n {4}at /)
  }
})

test('launcher: it runs through a link, from another folder, whatever Node is in PATH', async () => {
  const link = join(folder, 'image-library')
  symlinkSync(join(root, 'bin/image-library'), link)
  const { code, text } = await start(['--version'], link, { PATH: '/usr/bin:/bin' }).exit
  assert.deepEqual([code, text], [0, '0.1.0\n'])
})
