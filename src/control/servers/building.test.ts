import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { registerAvailable } from '#control/library/library.fixtures.ts'
import { decodeUserData } from './attributes.ts'
import type { NetworkSetting } from './deps.ts'
import { buildRunning, openServers, type ServersFixture } from './servers.fixtures.ts'
import type { BuildAttributes } from './servers.ts'

const GIB = 1024 ** 3

test('create: what cannot be is refused with the field and the rule', async () => {
  await using at = await openServers()
  const image = at.imageId
  const refused: [BuildAttributes, RegExp][] = [
    [{}, /^image or volumes must be given/],
    [{ image, volumes: [{ image }] }, /^image or volumes must be given/],
    [{ volumes: [{ image }, { image }] }, /^volumes must have one entry/],
    [{ volumes: [{}] }, /^volumes must name an image/],
    [{ volumes: [{ image, size: 0.5 }] }, /^volumes must have a size/],
    [{ image, serverType: '9tb.ssd' }, /^server_type .* there is no 9tb\.ssd/],
    [{ image, zone: 'zon-nowhe' }, /^zone .* there is no zon-nowhe/],
    [{ image, name: 'x'.repeat(256) }, /^name must be at most 255/],
    [{ image, userData: 'é'.repeat(32 * 1024 + 1) }, /^user_data must be at most 65536 bytes, not 65538/],
    [{ image, diskEncrypted: true }, /^disk_encrypted/],
    [{ image, cloudIp: 'true' }, /^cloud_ip/],
    [{ image, serverGroups: ['grp-12345'] }, /^server_groups/],
  ]
  for (const [attributes, message] of refused) {
    await assert.rejects(at.servers.create(at.library.owner, attributes), { code: 'invalid', message })
  }
  assert.deepEqual(await at.servers.list(at.library.owner), [])
})

test('create: what clients send for "not given" is accepted', async () => {
  await using at = await openServers()
  const { server, type, zone, volumes } = await at.servers.create(at.library.owner, {
    image: at.imageId,
    volumes: [],
    serverType: '',
    zone: null,
    name: '',
    userData: null,
    compatibilityMode: null,
    diskEncrypted: false,
    cloudIp: 'false',
    serverGroups: [],
  })
  assert.deepEqual(
    [server.name, server.status, type.handle, zone.handle],
    ['', 'creating', '1gb.ssd', 'gb1-a'],
  )
  assert.match(server.macAddress, /^52:54:00(:[0-9a-f]{2}){3}$/)
  assert.deepEqual([server.sshPort, volumes[0]?.size, volumes[0]?.status], [2200, 40 * GIB, 'creating'])
})

test('create: an image larger than the disk is refused with both sizes, and so is too little memory', async () => {
  await using at = await openServers()
  const { library, catalog } = at
  const { id } = await registerAvailable(library, { minRam: 2048 })
  const create = (attributes: BuildAttributes) => at.servers.create(library.owner, attributes)
  await assert.rejects(create({ image: id }), { code: 'invalid', message: /2048 MiB .*1gb\.ssd has 1024/ })
  await catalog.images.update(id, { virtualSize: 100 * GIB, minRam: null }, ['available'])
  await assert.rejects(create({ image: id }), {
    code: 'invalid',
    message: /102400 MiB: 1gb\.ssd has a disk of 40960/,
  })
  const volumes = [{ image: id, size: 102_399 }]
  await assert.rejects(create({ volumes, serverType: '1gb.net' }), {
    code: 'invalid',
    message: /102400.*102399/,
  })
  await catalog.images.update(id, { virtualSize: 100 * GIB + 1 }, ['available'])
  const { volumes: made } = await create({ image: id, serverType: '4gb.net' })
  assert.equal(made[0]?.size, 102_401 * 1024 * 1024)
})

test('create: an image without bytes, or one of others, builds nothing', async () => {
  await using at = await openServers()
  const { library } = at
  const index = library.scripted.calls.length
  const { id } = await library.library.register(library.owner, { httpUrl: 'http://a.test/x', arch: 'x86_64' })
  await assert.rejects(at.servers.create(library.owner, { image: id }), {
    code: 'conflict',
    message: /creating/,
  })
  ;(await library.scripted.call(index)).fail(new Error('broken'))
  await library.options.jobs.settled()
  await assert.rejects(at.servers.create(library.owner, { image: id }), {
    code: 'conflict',
    message: /failed/,
  })
  await assert.rejects(at.servers.create(library.other, { image: at.imageId }), { code: 'not_found' })
  const storage = { ...library.owner, permissions: 'storage' } as const
  await assert.rejects(at.servers.create(storage, { image: at.imageId }), { code: 'denied' })
})

test('show: what a public image became after its owner hid it, its servers elsewhere do not tell', async () => {
  await using at = await openServers()
  const { library, imageId: image } = at
  const { library: images, owner, other } = library
  await images.update(owner, image, { public: true, name: 'for all' })
  const { server } = await at.servers.create(other, { image })
  const shown = async () => [
    (await at.servers.show(other, server.id)).image.name,
    (await at.servers.listVolumes(other))[0]?.image.name,
  ]
  assert.deepEqual(await shown(), ['for all', 'for all'])
  await images.update(owner, image, { public: false, name: 'secret plans', description: 'of ours' })
  assert.deepEqual(await shown(), [image, image])
  assert.equal((await at.servers.show(other, server.id)).image.description, null)
  const own = await at.servers.create(owner, { image })
  assert.equal(own.image.name, 'secret plans')
})

test('quota: a hundred creates at the same time stay within it', async () => {
  await using at = await openServers({ perAccount: { servers: 7, ram: 5 * GIB, disk: undefined } })
  const { library, imageId } = at
  const outcomes = await Promise.allSettled(
    Array.from({ length: 100 }, () => at.servers.create(library.owner, { image: imageId })),
  )
  assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 5)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') assert.deepEqual([outcome.reason.code], ['denied'])
  }
  await at.catalog.accounts.setLimits(library.owner.accountId, { ram: 'none' })
  await at.servers.create(library.owner, { image: imageId })
  await at.servers.create(library.owner, { image: imageId })
  const eighth = at.servers.create(library.owner, { image: imageId })
  await assert.rejects(eighth, { code: 'denied', message: /may have 7 servers: 7 are used, 1 more wanted/ })
  const { servers, ram } = await at.servers.use(library.owner)
  assert.deepEqual(
    [servers, ram],
    [
      { used: 7, limit: 7 },
      { used: 7168, limit: undefined },
    ],
  )
})

test('memory of the host: a server waits until another one has stopped, and says why', async () => {
  await using at = await openServers({ ram: 1024 ** 3 })
  const { library } = at
  const first = await buildRunning(at)
  const { server } = await at.servers.create(library.owner, { image: at.imageId })
  await at.until(async () => (await at.catalog.servers.find(server.id))?.trouble !== null)
  const waiting = await at.catalog.servers.find(server.id)
  assert.match(waiting?.trouble?.message ?? '', /0 MiB of memory left, the server needs 1024/)
  assert.equal(waiting?.status, 'creating')
  await at.servers.stop(library.owner, first)
  await at.until(async () => (await at.statusOf(server.id)) === 'active')
  assert.equal((await at.catalog.servers.find(server.id))?.trouble, null)
})

test('SSH port: one that is taken on the host is left for another, and none left is said', async () => {
  await using at = await openServers({ sshPorts: { first: 2200, last: 2201 } })
  const { library, host, imageId } = at
  let isFirst = true
  host.onStep = (step) => {
    if (step !== 'start' || !isFirst) return
    isFirst = false
    throw new LibraryError('unavailable', "Could not set up host forwarding rule 'tcp:127.0.0.1:2200-:22'")
  }
  const id = await buildRunning(at)
  assert.equal((await at.catalog.servers.find(id))?.sshPort, 2201)
  await at.servers.create(library.owner, { image: imageId })
  const third = at.servers.create(library.owner, { image: imageId })
  await assert.rejects(third, { code: 'unavailable', message: /ports for SSH from 2200 to 2201/ })
})

test('user data: Base64 in lines is decoded, anything else is text', () => {
  const text = (sent: string) => Buffer.from(decodeUserData(sent)).toString()
  assert.equal(text('I2Nsb3VkLWNv\nbmZpZw==\n'), '#cloud-config')
  assert.equal(text('#cloud-config\n'), '#cloud-config\n')
  assert.equal(text('#!/bin/sh\necho hello\n'), '#!/bin/sh\necho hello\n')
})

test('SSH port: from its next start on a server has one where ports are forwarded, and only there', async () => {
  const settings: { network: NetworkSetting } = { network: { kind: 'none' } }
  await using at = await openServers(settings)
  const id = await buildRunning(at)
  const ports = [await portOf(at, id)]
  for (const network of [
    { kind: 'user', isolated: true },
    { kind: 'bridge', bridge: 'br0' },
  ] as const) {
    settings.network = network
    await at.restart()
    ports.push(await portOf(at, id))
    for (const act of ['stop', 'start'] as const) {
      await at.servers[act](at.library.owner, id)
      await at.until(async () => (await at.statusOf(id)) === (act === 'stop' ? 'inactive' : 'active'))
    }
    ports.push(await portOf(at, id))
  }
  assert.deepEqual(ports, [null, null, 2200, 2200, null])
})

const portOf = async (at: ServersFixture, id: string) => (await at.catalog.servers.find(id))?.sshPort
