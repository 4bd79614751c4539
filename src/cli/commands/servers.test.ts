import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { answerJson, fakeImage, problem, startFakeApi } from '../../../test/support/fake-api.ts'
import { fakeServer, fakeVolume } from '../../../test/support/fake-api-servers.ts'
import { clientSection, openCli } from '../../../test/support/run-cli.ts'
import { createProgram, readTree } from '../program.ts'

async function open(extra = 'default_account = acc-12345\n') {
  const api = await startFakeApi()
  const cli = await openCli(clientSection(api.url, extra))
  api.images.set('img-8yeen', fakeImage('img-8yeen', { name: 'arch-latest', username: 'arch' }))
  const close = async () => {
    await cli[Symbol.asyncDispose]()
    await api[Symbol.asyncDispose]()
  }
  return { api, cli, [Symbol.asyncDispose]: close }
}

const A = '?account_id=acc-12345'

test('server create: the line of the documentation prints what it prints there', async () => {
  await using at = await open()
  at.api.on('POST /1.0/servers', answerJson(fakeServer('srv-8gbi6', { status: 'creating' }), 202))
  const { out, err, code } = await at.cli.run('server', 'create', '-n', 'archlinux test', 'img-8yeen')
  assert.equal(err, 'Creating a 1gb.ssd (typ-w0hf9) server with image arch-latest (img-8yeen)\n')
  assert.equal(
    out,
    `
 id         status    type     zone   created_on  image_id   cloud_ip_ids  name          
------------------------------------------------------------------------------------------
 srv-8gbi6  creating  1gb.ssd  gb1-a  2023-01-03  img-8yeen                archlinux test
------------------------------------------------------------------------------------------

`,
  )
  assert.equal(code, 0)
  assert.deepEqual(at.api.lines, [
    `GET /1.0/images/img-8yeen${A}`,
    `GET /1.0/server_types${A}`,
    `POST /1.0/servers${A} {"name":"archlinux test","server_type":"typ-w0hf9","image":"img-8yeen"}`,
  ])
})

test('server create: every option goes into the body, in the order of the official client', async () => {
  await using at = await open('')
  at.api.on('GET /1.0/server_groups/grp-12345', answerJson({ id: 'grp-12345' }))
  const line =
    '-t 2gb.ssd -z gb1-b -g grp-12345 -m hello --cloud-ip true --disk-encrypted --volume-size 20480'
  const { err } = await at.cli.run('server', 'create', '-n', 'my srv', ...line.split(' '), 'img-8yeen')
  assert.equal(
    err,
    'Creating a 2gb.ssd (typ-2gssd) server with image arch-latest (img-8yeen) in zone gb1-b (zon-bbbbb)' +
      ' in groups grp-12345 with 0.01k of user data mapping a new cloud IP when built\n',
  )
  assert.deepEqual(at.api.lines, [
    'GET /1.0/images/img-8yeen',
    'GET /1.0/server_types',
    'GET /1.0/zones',
    'GET /1.0/server_groups/grp-12345',
    'POST /1.0/servers {"name":"my srv","zone":"zon-bbbbb","user_data":"aGVsbG8=\\n","server_groups":["grp-12345"],' +
      '"server_type":"typ-2gssd","cloud_ip":"true","disk_encrypted":true,' +
      '"volumes":[{"image":"img-8yeen","size":20480}]}',
  ])
})

test('server create: a type by id is read by itself, and compatibility mode is ours', async () => {
  await using at = await open('')
  await at.cli.run('servers', 'create', 'img-8yeen', '-t', 'typ-2gssd', '--compatibility-mode')
  await at.cli.run('servers', 'create', 'img-8yeen', '-z', 'zon-aaaaa', '--no-compatibility-mode')
  assert.deepEqual(at.api.lines, [
    'GET /1.0/images/img-8yeen',
    'GET /1.0/server_types/typ-2gssd',
    'POST /1.0/servers {"server_type":"typ-2gssd","image":"img-8yeen","compatibility_mode":true}',
    'GET /1.0/images/img-8yeen',
    'GET /1.0/server_types',
    'GET /1.0/zones',
    'POST /1.0/servers {"zone":"zon-aaaaa","server_type":"typ-w0hf9","image":"img-8yeen",' +
      '"compatibility_mode":false}',
  ])
})

test('server create: several are asked for one by one', async () => {
  await using at = await open('')
  const { out, err } = await at.cli.run('-s', 'server', 'create', '-i', '3', 'img-8yeen')
  assert.equal(err, 'Creating 3 1gb.ssd (typ-w0hf9) servers with image arch-latest (img-8yeen)\n')
  assert.deepEqual(
    out.split('\n').map((line) => line.split('\t')[0]),
    ['srv-8gbi6', 'srv-8gbi7', 'srv-8gbi8', ''],
  )
})

test('server create: a quota that is reached half-way prints the servers that were made, and why no more', async () => {
  await using at = await open()
  const limit = problem(403, 'account_limit_reached', 'the account may have 1 server')
  at.api.on('POST /1.0/servers', answerJson(fakeServer('srv-8gbi6'), 202), limit)
  const { out, err, code } = await at.cli.run('-s', 'server', 'create', '-i', '2', 'img-8yeen')
  assert.match(out, /^srv-8gbi6\tactive\t1gb.ssd\tgb1-a\t2023-01-03\timg-8yeen\t\tarchlinux test\n$/)
  assert.match(err, /\nERROR: create server: the account may have 1 server\nHINT: /)
  assert.equal(code, 1)
})

test('server create: user data comes from a file or stdin, in Base64 as Ruby makes it, or plain', async () => {
  await using at = await open('')
  const sent = () => JSON.parse(at.api.requests.at(-1)?.body ?? '').user_data as unknown
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
  await writeFile(join(at.cli.folder, 'data'), bytes)
  const { err } = await at.cli.run('server', 'create', '-f', 'data', 'img-8yeen')
  assert.match(err, / with 0.34k of user data\n$/)
  const lines = String(sent()).split('\n')
  assert.deepEqual([lines.length, lines[0]?.length, lines.at(-1)], [7, 60, ''])
  assert.deepEqual(Buffer.from(lines.join(''), 'base64'), bytes)
  await at.cli.runWith({ stdin: '#!/bin/sh\n' }, 'server', 'create', '-f', '-', '--no-base64', 'img-8yeen')
  assert.equal(sent(), '#!/bin/sh\n')
  await at.cli.run('server', 'create', '-m', '', 'img-8yeen')
  assert.equal(sent(), undefined)
})

const REFUSED: readonly (readonly [args: readonly string[], message: string])[] = [
  [['create'], 'You must specify the image_id as the first argument'],
  [['create', '-i', '0', 'img-8yeen'], 'server-count must be a whole number from 1 to 100'],
  [['create', '-i', 'two', 'img-8yeen'], 'server-count must be a whole number from 1 to 100'],
  [['create', '--volume-size', '1G', 'img-8yeen'], 'volume-size must be a whole number of MiB, 0 or more'],
  [
    ['create', '-m', 'x', '-f', 'big', 'img-8yeen'],
    'Cannot specify user data on command line and in file at same time',
  ],
  [['create', '-f', 'big', 'img-8yeen'], 'User data file too big (>64k)'],
  [['create', '-f', 'half', 'img-8yeen'], 'User data too big (>64k)'],
  [['create', '-f', 'nowhere', 'img-8yeen'], 'read nowhere: no such file or folder'],
  [['create', '-f', '.', 'img-8yeen'], 'read .: it is a folder'],
  [['create', '--no-base64', '-f', 'bytes', 'img-8yeen'], 'user data without Base64 must be text in UTF-8'],
  [['update', '-f', 'half', 'srv-8gbi6'], 'User data file too big (>16k)'],
  [['update', '-f', 'small', 'srv-8gbi6'], 'User data too big (>16k)'],
  [['update', 'img-8yeen'], 'You must specify a valid server id as the first argument'],
  [['update'], 'You must specify a valid server id as the first argument'],
  [['list', '-g', 'web'], 'A valid server group identifier is required for the group argument'],
  [['show'], 'You must specify server IDs to show'],
  [['start'], 'You must specify servers to start'],
  [['stop'], 'You must specify servers to stop'],
  [['shutdown'], 'You must specify servers to shutdown'],
  [['reboot'], 'You must specify servers to reboot'],
  [['reset'], 'You must specify servers to reset'],
  [['snapshot'], 'You must specify servers to snapshot'],
  [['destroy'], 'You must specify servers to destroy'],
  [['activate_console'], 'You must specify servers to activate the console for'],
  [['console', 'srv-8gbi6', 'srv-8gbi7'], 'You must specify one server'],
  [['wait'], 'You must specify the servers you want to wait for'],
]

test('servers: what cannot be right is refused before anything is asked', async () => {
  await using at = await open()
  const write = (name: string, size: number) => writeFile(join(at.cli.folder, name), Buffer.alloc(size, 0xff))
  await Promise.all([write('big', 65537), write('half', 60_000), write('small', 16_000), write('bytes', 9)])
  for (const [args, message] of REFUSED) {
    const { out, err, code } = await at.cli.run('servers', ...args)
    assert.equal(err.split('\n')[0], `ERROR: ${message}`, args.join(' '))
    assert.deepEqual([out, code], ['', 1])
  }
  assert.deepEqual(at.api.lines, [])
})

const MISSING: readonly (readonly [args: readonly string[], message: string])[] = [
  [['create', 'img-gone1'], "Couldn't find 'img-gone1'"],
  [['create', '-t', '3gb.ssd', 'img-8yeen'], 'Invalid Type 3gb.ssd'],
  [['create', '-t', 'typ-gone1', 'img-8yeen'], "Couldn't find 'typ-gone1'"],
  [['create', '-z', 'gb1-x', 'img-8yeen'], 'Invalid Zone gb1-x'],
  [['create', '-g', 'grp-gone1', 'img-8yeen'], "Couldn't find server group with grp-gone1"],
  [['show', 'srv-gone1'], "Couldn't find a server with ID srv-gone1"],
  [['update', 'srv-gone1'], "Couldn't find 'srv-gone1'"],
  [['start', 'srv-gone1'], "Couldn't find server srv-gone1"],
  [['stop', 'srv-gone1'], "Couldn't find server srv-gone1"],
  [['shutdown', 'srv-gone1'], "Couldn't find server srv-gone1"],
  [['snapshot', 'srv-gone1'], "Couldn't find server srv-gone1"],
  [['destroy', 'srv-gone1'], "Couldn't find server srv-gone1"],
  [['activate_console', 'srv-gone1'], "Couldn't find server srv-gone1"],
  [['console', 'srv-gone1'], "Couldn't find server srv-gone1"],
  [['reboot', 'srv-gone1'], "Couldn't find srv-gone1"],
  [['reset', 'srv-gone1'], "Couldn't find srv-gone1"],
  [['lock', 'srv-gone1'], "Couldn't find srv-gone1"],
  [['unlock', 'srv-gone1'], "Couldn't find srv-gone1"],
]

test('servers: what is not there is missed in the words of the official client', async () => {
  await using at = await open('')
  for (const [args, message] of MISSING) {
    const { out, err, code } = await at.cli.run('servers', ...args)
    assert.match(err, /\nHINT: /)
    assert.deepEqual([err.split('\n')[0], out, code], [`ERROR: ${message}`, '', 1])
  }
  assert.ok(at.api.lines.every((line) => line.startsWith('GET ')))
})

test('servers list: oldest first; ids in their order, a missing one is a warning', async () => {
  await using at = await open()
  at.api.servers.set('srv-bbbbb', fakeServer('srv-bbbbb', { created_at: '2023-01-04T00:00:00Z', name: '' }))
  at.api.servers.set('srv-aaaaa', fakeServer('srv-aaaaa'))
  const { out, err } = await at.cli.run('-s', 'server')
  assert.equal(err, '')
  assert.equal(
    out,
    'srv-aaaaa\tactive\t1gb.ssd\tgb1-a\t2023-01-03\timg-8yeen\t\tarchlinux test\n' +
      'srv-bbbbb\tactive\t1gb.ssd\tgb1-a\t2023-01-04\timg-8yeen\t\t\n',
  )
  assert.deepEqual(at.api.lines, [`GET /1.0/servers${A}`])
  const some = await at.cli.run('-s', 'servers', 'srv-bbbbb', 'srv-gone1', 'srv-aaaaa')
  assert.match(some.out, /^srv-bbbbb.*\nsrv-aaaaa.*\n$/)
  assert.deepEqual([some.err, some.code], ['Could not find anything with ID srv-gone1\n', 0])
  const grouped = await at.cli.run('servers', 'list', '-g', 'grp-12345')
  assert.deepEqual([grouped.out, grouped.code], ['\n', 0])
})

test('servers list: nothing found is an error, and a mistyped subcommand gets the list of them', async () => {
  await using at = await open()
  const { err, code } = await at.cli.run('servers', 'frobnicate')
  assert.match(
    err,
    /^Could not find anything with ID frobnicate\nERROR: .*\nHINT: servers takes list, show, /,
  )
  assert.equal(code, 1)
  const words = readTree(createProgram({ run: async () => {}, version: '0' })).sub.get('servers')?.words ?? []
  assert.ok(words.length > 10)
  for (const word of words) assert.match(err, new RegExp(`\\b${word}\\b`))
})

test('servers show: prints the fields of the official client, then ours', async () => {
  await using at = await open()
  const snapshots = [{ id: 'img-snap1' }, { id: 'img-snap2' }]
  const trouble = {
    message: 'The disk of the host is full.',
    hint: 'Make room; the server goes on by itself.',
  }
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6', { snapshots, trouble }))
  const { out, err } = await at.cli.run('server', 'show', 'srv-8gbi6')
  assert.equal(err, '')
  assert.equal(
    out,
    `                id: srv-8gbi6
            status: active
            locked: false
              name: archlinux test
        created_at: 2023-01-03T13:08Z
        deleted_at: 
              zone: gb1-a
              type: typ-w0hf9
         type_name: SSD 1GB
       type_handle: 1gb.ssd
               ram: 1024
             cores: 2
              disk: 30720
    disk_encrypted: false
compatibility_mode: false
             image: img-8yeen
        image_name: arch-latest
    image_username: arch
              arch: x86_64
       private_ips: 
      ipv6_address: 
          hostname: srv-8gbi6
              fqdn: srv-8gbi6.internal
   public_hostname: 
     ipv6_hostname: 
      cloud_ip_ids: 
       cloud_ipv4s: 
       cloud_ipv6s: 
         snapshots: img-snap1, img-snap2
     server_groups: 
           volumes: *vol-8gbi6*
       accelerator: tcg
               ssh: 127.0.0.1:22000
              fill: 50%, 1.0 GiB of 2.0 GiB
           trouble: The disk of the host is full.
              hint: Make room; the server goes on by itself.
`,
  )
  assert.deepEqual(at.api.lines, [`GET /1.0/servers/srv-8gbi6${A}`, `GET /1.0/images/img-8yeen${A}`])
})

test('servers show: an image that is gone leaves its fields blank, addresses are joined', async () => {
  await using at = await open('')
  at.api.images.clear()
  const ip = { id: 'cip-12345', public_ipv4: '192.0.2.1', public_ipv6: '2001:db8::1' }
  const more = {
    cloud_ips: [ip, { ...ip, id: 'cip-22222' }],
    interfaces: [{ ipv4_address: '10.0.0.1', ipv6_address: 'fe80::1' }],
    server_groups: [{ id: 'grp-12345' }],
    volumes: [fakeVolume('vol-11111', { fill: { percent: 100, stands_alone: true } })],
    ssh_port: null,
  }
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6', more))
  const { out } = await at.cli.run('-s', 'server', 'show', 'srv-8gbi6')
  assert.match(
    out,
    /\nimage_name\t\nimage_username\t\narch\t\nprivate_ips\t10.0.0.1\nipv6_address\tfe80::1\n/,
  )
  assert.match(out, /\npublic_hostname\tpublic.srv-8gbi6.internal\nipv6_hostname\tipv6.srv-8gbi6.internal\n/)
  assert.match(out, /\ncloud_ip_ids\tcip-12345, cip-22222\ncloud_ipv4s\t192.0.2.1, 192.0.2.1\n/)
  assert.match(out, /\nserver_groups\tgrp-12345\nvolumes\t\*vol-11111\*\n/)
  assert.match(out, /\naccelerator\ttcg\nfill\t100%, stands alone\n$/)
})

test('servers update: reads, changes and reads twice; an empty name clears', async () => {
  await using at = await open()
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  const { out, err } = await at.cli.run('-s', 'server', 'update', '-n', 'web', '-m', 'hello', 'srv-8gbi6')
  assert.equal(err, 'Updating server srv-8gbi6 with 0.01k of user data\n')
  assert.match(out, /\tweb\n$/)
  const get = `GET /1.0/servers/srv-8gbi6${A}`
  const put = `PUT /1.0/servers/srv-8gbi6${A}`
  assert.deepEqual(at.api.lines, [get, `${put} {"name":"web","user_data":"aGVsbG8=\\n"}`, get, get])
  await at.cli.run('server', 'update', '--no-compatibility-mode', '-n', '', 'srv-8gbi6')
  assert.equal(at.api.lines[5], `${put} {"name":null,"compatibility_mode":false}`)
  await at.cli.run('server', 'update', 'srv-8gbi6', '--compatibility-mode')
  assert.equal(at.api.lines[9], `${put} {"compatibility_mode":true}`)
  await at.cli.run('server', 'update', 'srv-8gbi6')
  assert.deepEqual(at.api.lines.slice(12), [get, get, get])
})

test('servers: each action reads, says what it does and prints nothing', async () => {
  await using at = await open()
  const lines: readonly (readonly [name: string, said: string, request: string])[] = [
    ['shutdown', 'Shutting down server srv-8gbi6', 'POST /1.0/servers/srv-8gbi6/shutdown'],
    ['start', 'Starting server srv-8gbi6', 'POST /1.0/servers/srv-8gbi6/start'],
    ['reboot', 'Sending reboot to srv-8gbi6', 'POST /1.0/servers/srv-8gbi6/reboot'],
    ['reset', 'Sending reset to srv-8gbi6', 'POST /1.0/servers/srv-8gbi6/reset'],
    ['stop', 'Stopping server srv-8gbi6', 'POST /1.0/servers/srv-8gbi6/stop'],
    ['snapshot', 'Snapshotting server srv-8gbi6', 'POST /1.0/servers/srv-8gbi6/snapshot'],
    ['lock', 'Locking srv-8gbi6', 'PUT /1.0/servers/srv-8gbi6/lock_resource'],
    ['unlock', 'Unlocking srv-8gbi6', 'PUT /1.0/servers/srv-8gbi6/unlock_resource'],
    ['destroy', 'Destroying server srv-8gbi6', 'DELETE /1.0/servers/srv-8gbi6'],
  ]
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  for (const [name, said, request] of lines) {
    assert.deepEqual(await at.cli.run('server', name, 'srv-8gbi6'), { out: '', err: `${said}\n`, code: 0 })
    assert.deepEqual(at.api.lines.splice(0), [`GET /1.0/servers/srv-8gbi6${A}`, request + A])
    assert.equal(at.api.requests.at(-1)?.headers['content-length'], '0')
  }
})

test('servers reboot and reset: nothing is sent to a server that is not active, and that is said', async () => {
  await using at = await open('')
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6', { status: 'inactive' }))
  for (const [name, said] of [
    ['reboot', 'Sending reboot to'],
    ['reset', 'Sending reset to'],
  ] as const) {
    const { out, err, code } = await at.cli.run('server', name, 'srv-8gbi6')
    assert.deepEqual([out, code], ['', 0])
    assert.equal(err, `${said} srv-8gbi6\nHINT: nothing was sent: srv-8gbi6 is inactive, not active\n`)
  }
  assert.deepEqual(at.api.lines, Array(2).fill('GET /1.0/servers/srv-8gbi6'))
})

test('servers destroy: a locked server is an error; all are looked for before any is destroyed', async () => {
  await using at = await open('')
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  at.api.on('DELETE /1.0/servers/srv-8gbi6', problem(409, 'resource_locked', 'the server is locked'))
  const locked = await at.cli.run('server', 'destroy', 'srv-8gbi6')
  assert.match(
    locked.err,
    /^Destroying server srv-8gbi6\nERROR: destroy server srv-8gbi6: the server is locked\n/,
  )
  const gone = await at.cli.run('server', 'destroy', 'srv-8gbi6', 'srv-gone1')
  assert.match(gone.err, /^ERROR: Couldn't find server srv-gone1\n/)
  assert.deepEqual([locked.code, gone.code], [1, 1])
  assert.equal(at.api.lines.filter((line) => line.startsWith('DELETE')).length, 1)
})

test('servers: a state that forbids it is said with reason and hint', async () => {
  await using at = await open('')
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  at.api.on('POST /1.0/servers/srv-8gbi6/start', problem(409, 'resource_conflict', 'the server is active'))
  const { err, code } = await at.cli.run('server', 'start', 'srv-8gbi6')
  assert.equal(err, 'Starting server srv-8gbi6\nERROR: start server srv-8gbi6: the server is active\n')
  assert.equal(code, 1)
})

test('servers: --json prints what the library sent, one object where one was asked for', async () => {
  await using at = await open('')
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  const json = async (...args: string[]) => JSON.parse((await at.cli.run(...args, '--json')).out)
  assert.deepEqual(await json('servers'), [fakeServer('srv-8gbi6')])
  assert.deepEqual(await json('server', 'show', 'srv-8gbi6'), fakeServer('srv-8gbi6'))
  assert.equal((await json('server', 'lock', 'srv-8gbi6')).locked, true)
  assert.equal((await json('server', 'snapshot', 'srv-8gbi6')).id, 'srv-8gbi6')
  assert.equal((await json('server', 'stop', 'srv-8gbi6', 'srv-8gbi6')).length, 2)
  assert.equal((await json('server', 'create', 'img-8yeen')).status, 'creating')
})
