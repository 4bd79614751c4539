import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { answerJson, json, startFakeApi } from '../../../test/support/fake-api.ts'
import { clientSection, openCli } from '../../../test/support/run-cli.ts'

async function open(config?: string) {
  const api = await startFakeApi()
  const cli = await openCli(config)
  const close = async () => {
    await cli[Symbol.asyncDispose]()
    await api[Symbol.asyncDispose]()
  }
  const saved = () => readFile(cli.configPath, 'utf8')
  return { api, cli, saved, [Symbol.asyncDispose]: close }
}

test('config client_add: gets a token, chooses the account and becomes the default', async () => {
  await using at = await open()
  const { out, err, code } = await at.cli.run('config', 'client_add', 'cli-12345', 'sesame', at.api.url)
  assert.equal(
    err,
    `Using config file ${at.cli.configPath}\nCreating new client config cli-12345\n` +
      'The default account of acc-12345 has been selected\n',
  )
  assert.deepEqual([out, code], ['', 0])
  assert.deepEqual(at.api.lines, [
    'POST /token {"grant_type":"client_credentials"}',
    'GET /1.0/accounts?nested=false',
  ])
  assert.equal(
    await at.saved(),
    `[cli-12345]
alias = cli-12345
client_id = cli-12345
secret = sesame
api_url = ${at.api.url}
auth_url = ${at.api.url}
default_account = acc-12345

[core]
default_client = cli-12345
`,
  )
  assert.equal((await stat(at.cli.configPath)).mode & 0o777, 0o600)
  assert.equal((await at.cli.run('images')).code, 0)
})

test('config client_add: refused credentials are saved and said, with exit code 0 as ever', async () => {
  await using at = await open()
  at.api.on('POST /token', (_request, response) => json(response, 401, { error: 'invalid_client' }))
  const { err, code } = await at.cli.run('config', 'client_add', 'cli-12345', 'wrong', at.api.url)
  assert.match(err, /\nSomething went wrong trying to refresh new tokens Invalid credentials\nHINT: /)
  assert.equal(code, 0)
  assert.match(await at.saved(), /^secret = wrong$/m)
})

test('config client_add: a name that is taken gets a number, and the default stays', async () => {
  await using at = await open(clientSection('http://127.0.0.1:1'))
  const { err } = await at.cli.run('config', 'client_add', 'cli-12345', 'sesame', at.api.url)
  assert.match(err, /\nA client config named cli-12345 already exists using cli-12345_1 instead\n/)
  assert.match(await at.saved(), /default_client = cli-12345\n/)
  const { out } = await at.cli.run('-s', 'config')
  assert.match(out, /^\*cli-12345\tcli-12345\tabcdefghijklmno\t.*\ncli-12345_1\tcli-12345\tsesame\t/)
})

test('config client_add: a library out of reach is an error, and the section is kept', async () => {
  await using at = await open()
  const { err, code } = await at.cli.run('config', 'client_add', 'cli-12345', 's', 'http://127.0.0.1:9')
  assert.match(err, /\nERROR: get a token: cannot reach http:\/\/127\.0\.0\.1:9: connection refused\n/)
  assert.equal(code, 1)
  assert.match(await at.saved(), /api_url = http:\/\/127\.0\.0\.1:9\n/)
})

const REFUSED: readonly (readonly [line: string, message: string])[] = [
  ['client_add', 'You must specify the client-id'],
  ['client_add app-12345 s', "The client-id 'app-12345' must match the format cli-xxxxx"],
  ['client_add cli-123456 s', "The client-id 'cli-123456' must match the format cli-xxxxx"],
  ['client_add cli-12345', 'You must specify the client secret'],
  ['client_add cli-12345 s ftp://h', 'api-url must be an http or https URL, such as http://127.0.0.1:8080'],
  [
    'client_add cli-12345 s http://h x',
    'auth-url must be an http or https URL, such as http://127.0.0.1:8080',
  ],
  ['client_add -a a/b cli-12345 s http://h', 'alias must be one word without / [ ] ; = and not core'],
  ['client_add -a core cli-12345 s http://h', 'alias must be one word without / [ ] ; = and not core'],
  ['user_add', "You must specify your user's email address"],
  ['user_add jo@example.com cli-12345 s', "The client-id 'cli-12345' must match the format app-xxxxx"],
  ['client_default', 'You must specify the api alias you want to set as the default'],
  ['client_default nobody', 'An api client with the alias nobody does not exist in the config'],
  ['client_remove', 'You must specify the api alias you want to remove'],
  ['client_remove nobody', 'An api client with the alias nobody does not exist in the config'],
  ['nonsense', "Unknown command 'nonsense'"],
]

for (const [line, message] of REFUSED) {
  test(`config: "${line}" is refused and changes nothing`, async () => {
    const before = clientSection('http://127.0.0.1:9')
    await using cli = await openCli(before)
    const { out, err, code } = await cli.run('config', ...line.split(' '))
    assert.ok(err.split('\n').includes(`ERROR: ${message}`), err)
    assert.deepEqual([out, code], ['', 1])
    assert.equal(await readFile(cli.configPath, 'utf8'), before)
  })
}

test('config client_list, client_default and client_remove: work on the file alone', async () => {
  const config = `; mine\n${clientSection('http://127.0.0.1:9')}\n[two]\nclient_id = cli-22222\napi_url = http://h:1\n`
  await using cli = await openCli(config)
  const list = await cli.run('config', 'client_list')
  assert.equal(list.err, `Using config file ${cli.configPath}\n`)
  assert.match(list.out, /\n \*cli-12345 {2}cli-12345 {2}abcdefghijklmno {2}http:\/\/127\.0\.0\.1:9 {2}/)
  assert.equal(
    (await cli.run('config', 'client_default', 'two')).err.split('\n')[1],
    'Setting two as default api client',
  )
  const changed = await readFile(cli.configPath, 'utf8')
  assert.equal(changed, config.replace('default_client = cli-12345', 'default_client = two'))
  await cli.run('config', 'client_remove', 'two')
  const left = await readFile(cli.configPath, 'utf8')
  assert.doesNotMatch(left, /two|default_client/)
  assert.match(left, /^; mine\n\[core\]\n/)
})

test('config: which client speaks: CLIENT, then --client, then the default, then the only one', async () => {
  await using at = await open()
  const section = (name: string, account: string) =>
    `[${name}]\nclient_id = cli-${account}\nsecret = s\napi_url = ${at.api.url}\ndefault_account = acc-${account}\n`
  await writeFile(at.cli.configPath, section('one', '11111') + section('two', '22222'))
  for (const name of ['one', 'two'])
    await writeFile(join(at.cli.folder, `${name}.oauth_token`), 'fresh-token')
  const none = await at.cli.run('images')
  assert.match(
    none.err,
    /^ERROR: You must specify a default client using brightbox config client_default\nHINT: /,
  )
  const account = async (env: Record<string, string>, ...args: string[]) => {
    await at.cli.runWith({ env }, ...args, 'images', 'list', '-a')
    return at.api.lines.at(-1)?.replace(/.*=acc-/, '')
  }
  assert.equal(await account({}, '-c', 'two'), '22222')
  assert.equal(await account({ CLIENT: 'one' }, '--client', 'two'), '11111')
  assert.equal(await account({}, '-c', 'two', '--account', 'acc-33333'), '33333')
  assert.equal(await account({ ACCOUNT: 'acc-44444' }, '-c', 'two', '--account', 'acc-33333'), '44444')
  const gone = await at.cli.run('-c', 'three', 'images')
  assert.match(gone.err, /^ERROR: There is no client named three in /)
  await writeFile(at.cli.configPath, section('one', '11111'))
  assert.equal(await account({}), '11111')
})

test('config: a file that cannot be read or understood is an error that names the place', async () => {
  await using cli = await openCli('[core]\ndefault_client = a\nwhat is this\n')
  const broken = await cli.run('images')
  assert.equal(
    broken.err,
    `ERROR: read ${cli.configPath}: line 3 is neither "[section]" nor "key = value"\nHINT: comments begin with ;\n`,
  )
  assert.equal(broken.code, 1)
  const folder = await cli.run('--config', cli.folder, 'images')
  assert.equal(folder.err, `ERROR: read the configuration ${cli.folder}: it is a folder\n`)
  await writeFile(cli.configPath, '[a]\nclient_id = cli-12345\n')
  assert.match((await cli.run('images')).err, /^ERROR: The client a in .* has no api_url\n/)
  await writeFile(cli.configPath, '[a]\nclient_id = cli-12345\napi_url = h:1\n')
  assert.match((await cli.run('images')).err, /^ERROR: api_url of client a must be an http or https URL/)
})

test('config: is found by --config, BRIGHTBOX_CONFIG and HOME', async () => {
  await using cli = await openCli()
  const where = async (env: Record<string, string>, ...args: string[]) =>
    (await cli.runWith({ env }, ...args, 'config')).err.split('\n')[0]
  assert.equal(await where({ BRIGHTBOX_CONFIG: '' }), `Using config file ${cli.folder}/.brightbox/config`)
  assert.equal(await where({ BRIGHTBOX_CONFIG: '/x/y' }), 'Using config file /x/y')
  assert.equal(await where({ BRIGHTBOX_CONFIG: '/x/y' }, '--config', '/z'), 'Using config file /z')
  assert.equal(await where({ BRIGHTBOX_CONFIG: '', HOME: '' }), 'Using config file .brightbox/config')
})

test('login: logs a user in by password and chooses the account', async () => {
  await using at = await open()
  const { out, err, code } = await at.cli.run('login', '-p', 'pw', '--api-url', at.api.url, 'jo@example.com')
  assert.deepEqual([out, code], ['', 0])
  assert.equal(err, 'The default account of acc-12345 has been selected\n')
  assert.deepEqual(at.api.lines, [
    'POST /token {"grant_type":"password","username":"jo@example.com","password":"pw"}',
    'GET /1.0/accounts?nested=false',
  ])
  const kept = await readFile(join(at.cli.folder, 'jo@example.com.refresh_token'), 'utf8')
  assert.equal(kept, 'refresh-2')
  await at.cli.run('login', '-p', 'pw2', 'jo@example.com')
  assert.equal((await at.saved()).match(/\[jo@example\.com\]/g)?.length, 1)
  assert.deepEqual(at.api.lines.length, 3)
  const none = await at.cli.run('login')
  assert.equal(none.err, 'ERROR: You must specify your email address\n')
})

test('accounts: an API client sees its account, a user the roles too', async () => {
  await using at = await open()
  await at.cli.run('config', 'client_add', 'cli-12345', 's', at.api.url)
  at.api.lines.length = 0
  const client = await at.cli.run('account')
  assert.match(
    client.out,
    /\n id {9}name {5}cloud_ips_limit {2}lb_limit {2}ram_limit {2}ram_used {2}ram_free\n/,
  )
  assert.match(client.out, /\n acc-12345 {2}Example {2}5 +2 +4096 +1024 +3072 +\n/)
  assert.deepEqual(at.api.lines, ['GET /1.0/account'])
  const shown = await at.cli.run('accounts', 'show', 'acc-gone1', 'acc-12345')
  assert.equal(shown.err, "WARN: Couldn't find account acc-gone1\n")
  assert.equal(
    shown.out,
    '            id: acc-12345\n          name: Example\ncloud_ip_limit: 5\n     ram_limit: 4096\n' +
      '      ram_used: 1024\n      lb_limit: 2\n      ram_free: 3072\n',
  )
  await at.cli.run('login', '-p', 'pw', '--api-url', at.api.url, 'jo@example.com')
  at.api.lines.length = 0
  const invitation = { status: 'pending', account: { id: 'acc-other', name: 'Theirs' } }
  at.api.on('GET /1.0/user/collaborations', answerJson([invitation]))
  const user = await at.cli.run('-s', '-c', 'jo@example.com', 'accounts')
  assert.equal(
    user.out,
    'acc-12345\t5\t2\t4096\t1024\t3072\towner\tExample\nacc-other\t\t\t\t\t\t(invited)\tTheirs\n',
  )
  assert.deepEqual(at.api.lines, ['GET /1.0/accounts?nested=false', 'GET /1.0/user/collaborations'])
})

test('accounts default: is written to the section, once it is known to exist', async () => {
  await using at = await open()
  await writeFile(at.cli.configPath, clientSection(at.api.url))
  assert.equal((await at.cli.run('accounts', 'default', 'acc-12345')).code, 0)
  assert.match(await at.saved(), /\ndefault_account = acc-12345\n/)
  const gone = await at.cli.run('accounts', 'default', 'acc-gone1')
  assert.match(gone.err, /^ERROR: Couldn't find 'acc-gone1'\n/)
  assert.equal(
    (await at.cli.run('accounts', 'default')).err,
    'ERROR: You must specify the account-id to set as default.\n',
  )
})

test('types, zones and users: list and show what there is, and warn of what is not', async () => {
  await using at = await open()
  await writeFile(at.cli.configPath, clientSection(at.api.url, 'default_account = acc-12345'))
  const type = {
    id: 'typ-w0hf9',
    name: 'SSD 1GB',
    handle: '1gb.ssd',
    status: 'available',
    ram: 1024,
    disk_size: 30720,
    cores: 2,
  }
  const zone = { id: 'zon-aaaaa', handle: 'gb1-a' }
  const user = {
    id: 'usr-aaaaa',
    name: 'Jo',
    email_address: 'jo@example.com',
    ssh_key: null,
    accounts: [{}, {}],
  }
  at.api.on('GET /1.0/server_types', answerJson([{ ...type, id: 'typ-big00', ram: 2048 }, type]))
  at.api.on('GET /1.0/server_types/typ-w0hf9', answerJson(type))
  at.api.on('GET /1.0/zones', answerJson([zone]))
  at.api.on('GET /1.0/users', answerJson([user]))
  at.api.on('GET /1.0/users/usr-aaaaa', answerJson(user))
  await at.cli.run('token', 'create')
  const types = await at.cli.run('-s', 'type')
  assert.equal(
    types.out,
    'typ-w0hf9\tSSD 1GB\t1gb.ssd\t1024\t30720\t2\ntyp-big00\tSSD 1GB\t1gb.ssd\t2048\t30720\t2\n',
  )
  const shown = await at.cli.run('-s', 'types', 'show', 'typ-w0hf9', 'typ-gone1')
  assert.equal(shown.err, "WARN: Couldn't find server type typ-gone1\n")
  assert.match(
    shown.out,
    /^id\ttyp-w0hf9\nhandle\t1gb\.ssd\nstatus\tavailable\nname\tSSD 1GB\nram\t1024\ndisk\t30720\n/,
  )
  assert.equal(
    (await at.cli.run('zones')).out,
    '\n id         handle\n-------------------\n zon-aaaaa  gb1-a \n-------------------\n\n',
  )
  assert.equal((await at.cli.run('-s', 'user')).out, 'usr-aaaaa\tJo\tjo@example.com\t2\n')
  assert.match((await at.cli.run('users', 'show', 'usr-aaaaa')).out, /accounts: 2\n {6}ssh_key: \n$/)
  assert.ok(at.api.lines.includes('GET /1.0/server_types?account_id=acc-12345'))
  assert.ok(at.api.lines.includes('GET /1.0/users'))
})
