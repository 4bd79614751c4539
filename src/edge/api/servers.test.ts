import assert from 'node:assert/strict'
import { after, beforeEach, test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import type { ServerJson } from '#schema/server.ts'
import type { VolumeJson } from '#schema/volume.ts'
import { startApi } from '../../../test/support/api-server.ts'
import {
  createFakeServers,
  fakeServer,
  fakeShown,
  fakeVolume,
  storedImage,
} from '../../../test/support/fake-servers.ts'

const servers = createFakeServers()
const server = await startApi({ servers, sshAddress: '0.0.0.0' })
after(() => server[Symbol.asyncDispose]())
const { call, url } = server
const PATH = '/1.0/servers/srv-12345'

beforeEach(() => {
  servers.calls.length = 0
  servers.shown = fakeShown()
  servers.refusal = undefined
})

const refusedBy = async (method: string, path: string, body?: unknown) => {
  const answer = await call<{ error_name: string; errors: string[]; hint?: string }>(method, path, body)
  assert.ok(Array.isArray(answer.body.errors))
  return answer
}

const ACTIONS: readonly (readonly [method: string, path: string, status: number, call: string])[] = [
  ['GET', '', 200, 'show'],
  ['DELETE', '', 202, 'destroy'],
  ['POST', '/start', 202, 'start'],
  ['POST', '/stop', 202, 'stop'],
  ['POST', '/shutdown', 202, 'shutdown'],
  ['POST', '/reboot', 202, 'reboot'],
  ['POST', '/reset', 202, 'reset'],
  ['POST', '/snapshot', 202, 'snapshot'],
  ['POST', '/activate_console', 202, 'activateConsole'],
  ['PUT', '/lock_resource', 200, 'lock'],
  ['PUT', '/unlock_resource', 200, 'unlock'],
]

test('servers: every call without a body has the one status that official clients accept, and the server', async () => {
  for (const [method, path, status, name] of ACTIONS) {
    const answer = await call<ServerJson>(method, `${PATH}${path}`)
    assert.deepEqual([answer.status, answer.body.id], [status, 'srv-12345'], `${method} ${path}`)
    assert.deepEqual(servers.calls.splice(0), [[name, 'srv-12345']])
  }
})

test('servers: every call passes on what the servers refuse', async () => {
  const refusals = [
    [new LibraryError('not_found', 'there is no server srv-12345'), 404, 'missing_resource'],
    [new LibraryError('conflict', 'server srv-12345 is locked'), 409, 'resource_conflict'],
    [new LibraryError('unavailable', 'QEMU did not answer'), 503, 'unavailable'],
  ] as const
  for (const [method, path] of [...ACTIONS, ['POST', '/resize'] as const]) {
    for (const [error, status, name] of refusals) {
      servers.refusal = error
      const { body, ...answer } = await refusedBy(method, `${PATH}${path}`)
      assert.deepEqual([answer.status, body.error_name, body.errors], [status, name, [error.message]])
    }
  }
})

test('servers: one alone has every key that clients need, of the type that they insist on', async () => {
  servers.shown = fakeShown({
    server: fakeServer({
      name: 'web',
      userData: 'aGVsbG8=\n',
      sshPort: 40_022,
      trouble: { message: 'The disk of this host is full.', hint: 'Free some of it.' },
      console: {
        tokenSha256: 'ab'.repeat(32),
        expiresAt: Date.UTC(2026, 0, 2),
        madeBy: { clientId: 'cli-12345', userId: null },
      },
    }),
    snapshots: [storedImage({ id: 'img-snaps', sourceType: 'snapshot', source: 'srv-12345' })],
  })
  const { body } = await call<ServerJson>('GET', PATH)
  const { image, volumes, snapshots, ...rest } = body
  assert.deepEqual(rest, {
    id: 'srv-12345',
    resource_type: 'server',
    url: `${url}${PATH}`,
    name: 'web',
    status: 'active',
    locked: false,
    hostname: 'srv-12345',
    fqdn: 'srv-12345.internal',
    created_at: '2026-01-02T03:04:05.000Z',
    started_at: '2026-01-02T03:04:06.000Z',
    deleted_at: null,
    compatibility_mode: false,
    disk_encrypted: false,
    user_data: 'aGVsbG8=\n',
    console_url: `${url}/console/srv-12345`,
    console_token: null,
    console_token_expires: '2026-01-02T00:00:00.000Z',
    snapshots_schedule: null,
    snapshots_schedule_next_at: null,
    snapshots_retention: null,
    account: {
      id: 'acc-12345',
      resource_type: 'account',
      url: `${url}/1.0/accounts/acc-12345`,
      name: 'Test',
      status: 'active',
    },
    // Cores and memory are those that the server was built with.
    server_type: {
      id: 'typ-w0hf9',
      resource_type: 'server_type',
      url: `${url}/1.0/server_types/typ-w0hf9`,
      name: 'Small',
      handle: '1gb.ssd',
      status: 'available',
      cores: 2,
      ram: 1024,
      disk_size: 20_480,
      storage_type: 'local',
    },
    zone: {
      id: 'zon-bbbbb',
      resource_type: 'zone',
      url: `${url}/1.0/zones/zon-bbbbb`,
      handle: 'gb1-a',
    },
    cloud_ips: [],
    interfaces: [
      {
        id: 'int-12345',
        resource_type: 'interface',
        url: `${url}/1.0/interfaces/int-12345`,
        mac_address: '02:24:19:00:00:01',
        ipv4_address: null,
        ipv6_address: null,
      },
    ],
    server_groups: [],
    accelerator: 'tcg',
    ssh_host: '127.0.0.1',
    ssh_port: 40_022,
    trouble: { message: 'The disk of this host is full.', hint: 'Free some of it.' },
  })
  assertNestedImage(image)
  assert.deepEqual(
    snapshots.map(({ id, source }) => [id, source]),
    [['img-snaps', 'srv-12345']],
  )
  snapshots.forEach(assertNestedImage)
  assert.deepEqual(
    volumes.map(({ id, boot, size }) => [id, boot, size]),
    [['vol-12345', true, 20_480]],
  )
})

function assertNestedImage(image: object): void {
  assert.deepEqual(Object.keys(image).sort(), [
    ...['arch', 'created_at', 'description', 'id', 'locked', 'name', 'official', 'owner', 'public'],
    ...['resource_type', 'source', 'source_trigger', 'status', 'url', 'username'],
  ])
}

test('servers: in a list they have all but user data, and null where nothing is', async () => {
  servers.shown = fakeShown({
    server: fakeServer({ userData: 'x', status: 'deleted', deletedAt: 0 }),
    volumes: [],
  })
  const { status, body } = await call<ServerJson[]>('GET', '/1.0/servers')
  assert.equal(status, 200)
  const [listed] = body
  assert.equal('user_data' in listed!, false)
  assert.deepEqual([listed?.status, listed?.deleted_at], ['deleted', '1970-01-01T00:00:00.000Z'])
  assert.deepEqual([listed?.volumes, listed?.snapshots, listed?.cloud_ips], [[], [], []])
  const { console_url, console_token, console_token_expires, ssh_host, ssh_port, trouble } = listed!
  for (const value of [console_url, console_token, console_token_expires, ssh_host, ssh_port, trouble])
    assert.equal(value, null)
})

test('servers: create as the official command line does', async () => {
  const body =
    '{"name":"my srv","zone":"zon-bbbbb","user_data":"aGVsbG8=\\n","server_groups":["grp-12345"],' +
    '"server_type":"typ-2gnbs","cloud_ip":"true","disk_encrypted":true,"volumes":[{"image":"img-x","size":20480}]}'
  const answer = await call<ServerJson>('POST', '/1.0/servers?account_id=', body)
  assert.equal(answer.status, 202)
  assert.equal(answer.headers.get('location'), `${url}${PATH}`)
  assert.deepEqual(servers.calls, [
    [
      'create',
      {
        name: 'my srv',
        zone: 'zon-bbbbb',
        userData: 'aGVsbG8=\n',
        serverGroups: ['grp-12345'],
        serverType: 'typ-2gnbs',
        cloudIp: 'true',
        diskEncrypted: true,
        volumes: [{ image: 'img-x', size: 20_480 }],
      },
    ],
  ])
  const least = await call<ServerJson>('POST', '/1.0/servers', { server_type: 'typ-w0hf9', image: 'img-x' })
  assert.equal(least.status, 202)
  assert.deepEqual(servers.calls.at(-1), ['create', { serverType: 'typ-w0hf9', image: 'img-x' }])
  await call('POST', '/1.0/servers', { image: 'img-x', compatibility_mode: true, cloud_ip: false })
  assert.deepEqual(servers.calls.at(-1), [
    'create',
    { image: 'img-x', compatibilityMode: true, cloudIp: false },
  ])
})

test('servers: every broken rule of a build is named with its field', async () => {
  const image = 'img-x'
  const cases: [unknown, RegExp][] = [
    [undefined, /^the body must be a JSON object$/],
    [{ image: 5 }, /^image must be a string or null$/],
    [{ image, name: 'a\nb' }, /^name must not contain control characters$/],
    [{ image, name: 'x'.repeat(256) }, /^name must have at most 255 characters$/],
    [{ image, user_data: 'x'.repeat(65_537) }, /^user_data must have at most 65536 characters$/],
    [{ image, volumes: {} }, /^volumes must be a list or null$/],
    [{ volumes: [{ image }, { image }] }, /^volumes must have at most 1 entry$/],
    [{ volumes: [{ image, size: -1 }] }, /^volumes.0.size must be >= 0$/],
    [{ volumes: [{ image, boot: true }] }, /^volumes.0.boot is not a field that can be set here$/],
    [{ volumes: [{ volume: 'vol-12345' }] }, /^volumes.0.volume: servers are built from images here$/],
    [{ image, server_groups: 'grp-12345' }, /^server_groups must be a list or null$/],
    [{ image, cloud_ip: 1 }, /^cloud_ip must be a string or true or false or null$/],
    [{ image, disk_encrypted: 'yes' }, /^disk_encrypted must be true or false or null$/],
    [{ image, ssh_port: 22 }, /^ssh_port is not a field that can be set here$/],
    [{ image, snapshots_schedule: '0 7 * * *' }, /^snapshots_schedule: this library makes no snapshots/],
    [{ image, snapshots_retention: '7' }, /^snapshots_retention: this library makes no snapshots/],
  ]
  for (const [body, sentence] of cases) {
    const answer = await refusedBy('POST', '/1.0/servers', body)
    assert.deepEqual([answer.status, answer.body.error_name], [422, 'unprocessable_entity'])
    assert.match(String(answer.body.errors[0]), sentence)
  }
  assert.deepEqual(servers.calls, [])
})

test('servers: user data of 64 KiB arrives, a body of more than the API takes does not', async () => {
  const user_data = 'x'.repeat(64 * 1024)
  assert.equal((await call('POST', '/1.0/servers', { image: 'img-x', user_data })).status, 202)
  assert.deepEqual(servers.calls, [['create', { image: 'img-x', userData: user_data }]])
  const huge = await refusedBy('POST', '/1.0/servers', { image: 'img-x', name: 'x'.repeat(300_000) })
  assert.deepEqual([huge.status, huge.body.error_name], [413, 'too_large'])
})

test('servers: an update changes what is named, and null clears', async () => {
  const { status } = await call('PUT', PATH, { name: null, user_data: null, compatibility_mode: true })
  assert.equal(status, 200)
  const all = { name: null, userData: null, compatibilityMode: true }
  await call('PUT', PATH, { server_groups: [], snapshots_schedule: null, snapshots_retention: '' })
  assert.deepEqual(servers.calls.splice(0), [
    ['update', 'srv-12345', all],
    ['update', 'srv-12345', {}],
  ])
  const cases: [unknown, RegExp][] = [
    [{ server_groups: ['grp-12345'] }, /^server_groups: this library has no server groups$/],
    [{ snapshots_schedule: '0 7 * * *' }, /^snapshots_schedule: /],
    [{ compatibility_mode: 'yes' }, /^compatibility_mode must be true or false$/],
    [{ status: 'active' }, /^status is not a field that can be set here$/],
    [{ image: 'img-x' }, /^image is not a field that can be set here$/],
  ]
  for (const [body, sentence] of cases) {
    const answer = await refusedBy('PUT', PATH, body)
    assert.equal(answer.status, 422)
    assert.match(String(answer.body.errors[0]), sentence)
  }
  assert.deepEqual(servers.calls, [])
})

test('servers: only the answer to activate_console has the token', async () => {
  const console = {
    tokenSha256: 'ab'.repeat(32),
    expiresAt: Date.UTC(2026, 0, 2),
    madeBy: { clientId: 'cli-12345', userId: null },
  }
  servers.shown = fakeShown({ server: fakeServer({ console }), consoleToken: 'secret' })
  const { body } = await call<ServerJson>('POST', `${PATH}/activate_console`)
  assert.deepEqual(
    [body.console_url, body.console_token, body.console_token_expires],
    [`${url}/console/srv-12345`, 'secret', '2026-01-02T00:00:00.000Z'],
  )
  assert.ok(!JSON.stringify(body).includes(console.tokenSha256))
})

test('servers: a snapshot is linked in the way that clients take its id from', async () => {
  servers.shown = fakeShown({ snapshots: [storedImage({ id: 'img-snaps' })] })
  const { headers, body } = await call<ServerJson>('POST', `${PATH}/snapshot`)
  assert.equal(headers.get('link'), `<${url}/1.0/images/img-snaps>; rel=snapshot`)
  assert.equal(new URL(body.snapshots[0]!.url).pathname.split('/')[3], 'img-snaps')
})

test('servers: another type is refused with what to do instead', async () => {
  const { status, body } = await refusedBy('POST', `${PATH}/resize`, { new_type: 'typ-12345' })
  assert.deepEqual([status, body.errors], [422, ['new_type: the type of a server cannot be changed']])
  assert.match(body.hint ?? '', /snapshot/)
})

test('servers: forwarded ports are shown with the address that they listen on, where it is one', async () => {
  const shown = fakeShown({ server: fakeServer({ sshPort: 40_022 }) })
  const fake = Object.assign(createFakeServers(), { shown })
  await using other = await startApi({ servers: fake, sshAddress: '192.0.2.7' })
  const { body } = await other.call<ServerJson>('GET', PATH)
  assert.deepEqual([body.ssh_host, body.ssh_port], ['192.0.2.7', 40_022])
})

test('volumes: listed and shown with every key that clients need', async () => {
  const listed = await call<VolumeJson[]>('GET', '/1.0/volumes')
  const shown = await call<VolumeJson>('GET', '/1.0/volumes/vol-12345')
  assert.deepEqual([listed.status, shown.status], [200, 200])
  assert.deepEqual(listed.body, [shown.body])
  const { account, image, server: owner, zone, ...rest } = shown.body
  assert.deepEqual(rest, {
    id: 'vol-12345',
    resource_type: 'volume',
    url: `${url}/1.0/volumes/vol-12345`,
    name: null,
    description: null,
    status: 'attached',
    boot: true,
    delete_with_server: true,
    encrypted: false,
    filesystem_label: null,
    filesystem_type: null,
    locked: false,
    serial: 'vol-12345',
    size: 20_480,
    source: 'img-12345',
    source_type: 'image',
    storage_type: 'local',
    created_at: '2026-01-02T03:04:05.000Z',
    updated_at: '2026-01-02T03:04:05.000Z',
    deleted_at: null,
    fill: { bytes_done: 2 ** 30, bytes_total: 2 ** 31, percent: 50, stands_alone: false },
  })
  assertNestedImage(image)
  assert.deepEqual([account.id, owner.id, zone.handle], ['acc-12345', 'srv-12345', 'gb1-a'])
  assert.deepEqual(Object.keys(owner).sort(), [
    ...['created_at', 'deleted_at', 'fqdn', 'hostname', 'id', 'locked', 'name', 'resource_type'],
    ...['started_at', 'status', 'url'],
  ])
})

test('volumes: a fill is at 100 percent only once the volume stands alone', async () => {
  const fillOf = async (changes: Parameters<typeof fakeVolume>[0]) => {
    servers.shown = fakeShown({ volumes: [fakeVolume(changes)] })
    return (await call<VolumeJson>('GET', '/1.0/volumes/vol-12345')).body.fill
  }
  assert.equal((await fillOf({ filled: 2 ** 31 })).percent, 99)
  assert.equal((await fillOf({ filled: 2 ** 31, standsAlone: true })).percent, 100)
  assert.equal((await fillOf({ filled: 0, imageSize: 0 })).percent, 0)
  servers.refusal = new LibraryError('not_found', 'there is no volume vol-12345')
  assert.equal((await call('GET', '/1.0/volumes/vol-12345')).status, 404)
  for (const path of ['/attach', '/detach', '/resize'])
    assert.equal((await call('POST', `/1.0/volumes/vol-12345${path}`)).status, 404)
})

test('images: one is made of a server or of its volume as the official command line asks for it', async () => {
  const { body: image } = await call('POST', '/1.0/images', { arch: 'x86_64', http_url: 'http://h/x.img' })
  servers.shown = fakeShown({ snapshots: [storedImage({ id: image.id })] })
  // All that its user did not say is null, false or 0.
  const said = { compatibility_mode: false, description: null, min_ram: 0, public: false, username: null }
  const made = await call('POST', '/1.0/images', { ...said, arch: 'x86_64', name: null, server: 'srv-12345' })
  assert.equal(made.status, 201)
  assert.equal(made.headers.get('location'), `${url}/1.0/images/${image.id}`)
  assert.deepEqual([made.body.name, made.body.arch], [image.name, 'x86_64'])
  const volume = { ...said, arch: 'i686', name: 'Mine', volume: 'vol-12345', min_ram: 64, public: true }
  const { body } = await call('POST', '/1.0/images', volume)
  assert.deepEqual([body.name, body.arch, body.min_ram, body.public], ['Mine', 'i686', 64, true])
  assert.deepEqual(servers.calls, [
    ['snapshot', 'srv-12345'],
    ['showVolume', 'vol-12345'],
    ['snapshot', 'srv-12345'],
  ])
  servers.refusal = new LibraryError('conflict', 'server srv-12345 has no disk yet')
  assert.equal((await refusedBy('POST', '/1.0/images', { arch: 'i686', server: 'srv-12345' })).status, 409)
})
