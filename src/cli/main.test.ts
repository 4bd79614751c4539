import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { answerJson, fakeImage, startFakeApi } from '../../test/support/fake-api.ts'
import { fakeServer, fakeVolume } from '../../test/support/fake-api-servers.ts'
import { BRIGHTBOX, clientSection, openCli } from '../../test/support/run-cli.ts'
import { needs } from '../../test/support/tools.ts'
import { type CommandTree, expandCommand } from './command-words.ts'
import { redact } from './http.ts'

const group = (words: string[], fallback?: string): CommandTree => ({
  words,
  valueOptions: new Set(),
  sub: new Map(),
  ...(fallback === undefined ? {} : { fallback }),
})
const TREE: CommandTree = {
  words: ['images', 'config', 'completion', 'login', 'help'],
  valueOptions: new Set(['-c', '--client']),
  sub: new Map([
    ['images', group(['list', 'lock', 'show'], 'list')],
    ['config', group(['client_list'], 'client_list')],
    ['login', group([])],
  ]),
}

for (const [line, expanded] of [
  ['image', 'images list'],
  ['image sh img-12345', 'images show img-12345'],
  ['i img-12345', 'images list img-12345'],
  ['images --status private', 'images list --status private'],
  ['-c images -s image list', '-c images -s images list'],
  ['--client=x images foo', '--client=x images list foo'],
  ['images --help', 'images --help'],
  ['conf', 'config client_list'],
  ['login jo', 'login jo'],
  ['--help', '--help'],
  ['-- images', '-- images'],
] as const) {
  test(`commands: "${line}" means "${expanded}"`, () => {
    assert.equal(expandCommand(line.split(' '), TREE).join(' '), expanded)
  })
}

test('commands: an ambiguous or unknown word is refused with what it could be', () => {
  assert.throws(
    () => expandCommand(['co'], TREE),
    /^CommandError: Ambiguous command 'co'\. It matches completion,config$/,
  )
  assert.throws(() => expandCommand(['images', 'l'], TREE), /Ambiguous command 'l'\. It matches list,lock$/)
  assert.throws(() => expandCommand(['servers'], TREE), /Unknown command 'servers'$/)
})

test('debug: every kind of secret is hidden', () => {
  const shown = redact(
    'Authorization: Basic Zm9v\nX-Brightbox-OTP: 123456\n{"password":"p4ss","secret":"s3cret","refresh_token":"r3f"}' +
      ' http://user:pw@h/?temp_url_sig=abc&x=1',
  )
  assert.doesNotMatch(shown, /Zm9v|123456|p4ss|s3cret|r3f|user:pw|abc/)
  assert.match(shown, /^Authorization: Basic …\n/)
})

test('help: is there for every command, and no arguments at all are a question', async () => {
  await using cli = await openCli()
  const none = await cli.run()
  assert.match(none.out, /^Usage: brightbox \[options\] \[command\]\n/)
  assert.deepEqual([none.err, none.code], ['', 0])
  const register = await cli.run('image', 'register', '--help')
  assert.match(register.out, /^Usage: brightbox images register /)
  assert.match(register.out, /--checksum <sha256:hex>[\s\S]*Global Options:[\s\S]*--json/)
  assert.match(
    (await cli.run('--version')).out,
    /^brightbox version \d+\.\d+\.\d+ \(compatible with 5\.1\.0\)\n$/,
  )
  assert.match((await cli.run('help', 'images')).out, /^Usage: brightbox images /)
})

test('usage: a mistyped command or option is one line, a hint and exit code 1', async () => {
  await using cli = await openCli()
  const command = await cli.run('imagse')
  assert.deepEqual(command, {
    out: '',
    err: "ERROR: Unknown command 'imagse'\nHINT: brightbox --help lists them\n",
    code: 1,
  })
  const option = await cli.run('images', 'list', '--statsu', 'private')
  assert.deepEqual(option, {
    out: '',
    err: "ERROR: unknown option '--statsu'\nHINT: Did you mean --status?\n",
    code: 1,
  })
})

test('completion: offers commands, options, values, files and image ids with their names', async () => {
  await using api = await startFakeApi()
  await using cli = await openCli(clientSection(api.url))
  api.on('GET /1.0/images', answerJson([fakeImage('img-aaaaa'), fakeImage('img-bbbbb', { name: 'b\tc' })]))
  const offers = async (...words: string[]) => (await cli.run('complete', '--', ...words)).out
  assert.match(await offers('ima'), /^images\t.*\nimage\t.*\n:4\n$/)
  assert.match(await offers('image', 'sh'), /^show\t/)
  assert.equal(await offers('image', 'show', ''), 'img-aaaaa\tMy upload\nimg-bbbbb\tb c\n:4\n')
  assert.equal(await offers('images', 'register', '--arch', ''), 'x86_64\t\ni686\t\n:4\n')
  assert.equal(await offers('images', 'register', '--file', 'conf'), 'config\t\n:4\n')
  assert.equal(await offers('orbit', 'put', 'conf'), 'config\t\n:4\n')
  assert.match(await offers('orbit', 'te'), /^tempurl\t/)
  assert.equal(await offers('-c', ''), 'cli-12345\t\n:4\n')
  await cli.run('images', 'list')
  await api[Symbol.asyncDispose]()
  assert.equal(await offers('image', 'show', 'img-a'), 'img-aaaaa\t\n:4\n')
})

test('completion: offers the ids of what a command takes', async () => {
  await using api = await startFakeApi()
  await using cli = await openCli(clientSection(api.url))
  api.images.set('img-8yeen', fakeImage('img-8yeen'))
  api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  api.volumes.set('vol-8gbi6', fakeVolume('vol-8gbi6'))
  const offers = async (...words: string[]) => (await cli.run('complete', '--', ...words)).out
  assert.equal(await offers('server', 'create', ''), 'img-8yeen\tMy upload\n:4\n')
  assert.equal(await offers('server', 'show', 'srv'), 'srv-8gbi6\tarchlinux test\n:4\n')
  assert.equal(await offers('volumes', 'show', ''), 'vol-8gbi6\t\n:4\n')
  assert.equal(await offers('servers', 'create', '--user-data-file', 'conf'), 'config\t\n:4\n')
})

test('completion: prints a script that bash accepts, and refuses other shells', needs('bash'), async () => {
  await using cli = await openCli()
  const { out } = await cli.run('completion', 'bash')
  const child = spawn('bash', ['-n'], { stdio: ['pipe', 'ignore', 'pipe'] })
  child.stdin.end(out)
  assert.equal(await text(child.stderr), '')
  assert.match((await cli.run('completion', 'zsh')).out, /^#compdef brightbox/)
  assert.match((await cli.run('completion', 'fish')).out, /^# fish completion for brightbox/)
  const other = await cli.run('completion', 'tcsh')
  assert.deepEqual([other.err, other.code], ['ERROR: shell must be one of bash, zsh, fish\n', 1])
})

test('launcher: works through a symbolic link, by its own first line, and hands on the exit code', async () => {
  await using cli = await openCli()
  const link = join(cli.folder, 'bb')
  await symlink(BRIGHTBOX, link)
  const { stdout } = await promisify(execFile)(link, ['--version'])
  assert.match(stdout, /^brightbox version /)
  await assert.rejects(promisify(execFile)(link, ['nonsense']), { code: 1 })
})

test('launcher: an interrupt reaches the command', async () => {
  await using api = await startFakeApi()
  await using cli = await openCli(clientSection(api.url))
  const asked = new Promise<void>((resolve) => api.on('GET /1.0/images', () => resolve()))
  const child = spawn(BRIGHTBOX, ['images'], { env: { ...process.env, BRIGHTBOX_CONFIG: cli.configPath } })
  await asked
  child.kill('SIGINT')
  assert.deepEqual(await once(child, 'exit'), [130, null])
})

test('launcher: the Node that came along is used, whatever the system has', async () => {
  const { stdout } = await promisify(execFile)(BRIGHTBOX, ['--version'], { env: { PATH: '/usr/bin:/bin' } })
  assert.match(stdout, /^brightbox version /)
})
