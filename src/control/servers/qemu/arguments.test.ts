import assert from 'node:assert/strict'
import { test } from 'node:test'
import { machineArguments } from './arguments.ts'
import type { MachineSpec } from './machine.ts'

const SPEC: MachineSpec = {
  id: 'srv-aaaaa',
  folder: '/data/servers/srv-aaaaa',
  accelerator: 'tcg',
  cores: 2,
  ram: 1024,
  compatibilityMode: false,
  diskSerial: 'vol-aaaaa',
  diskSize: 2 ** 30,
  base: 'export',
  layers: ['layer-0.qcow2', 'layer-3.qcow2'],
  macAddress: '52:54:00:12:34:56',
  network: { kind: 'user', sshAddress: '127.0.0.1', sshPort: 2200, isolated: false },
  user: undefined,
}

/** All values of an option. */
const values = (spec: MachineSpec, option: string) => {
  const args = machineArguments(spec)
  return args.filter((_, index) => args[index - 1] === option)
}

test('arguments: every disk is attached with its format and what lies below it', () => {
  const nodes = values(SPEC, '-blockdev').map((text) => JSON.parse(text))
  assert.deepEqual(
    nodes.map((node) => [node['node-name'], node.driver, node.backing, node['read-only']]),
    [
      ['image-export', 'nbd', undefined, true],
      ['layer-0.qcow2', 'qcow2', 'image-export', true],
      ['layer-3.qcow2', 'qcow2', 'layer-0.qcow2', false],
      ['seed', 'raw', undefined, true],
    ],
  )
  assert.deepEqual(nodes[0].server, { type: 'unix', path: 'image.sock' })
  assert.equal(nodes[0]['reconnect-delay'], 10)
  assert.deepEqual(nodes[2].file, {
    driver: 'file',
    'node-name': 'layer-3.qcow2-file',
    filename: 'layer-3.qcow2',
  })
  const [base] = values({ ...SPEC, base: 'file' }, '-blockdev').map((text) => JSON.parse(text))
  assert.deepEqual([base['node-name'], base.driver, base.file.filename], ['base', 'raw', 'base.raw'])
})

test('arguments: virtio devices in one mode, emulated ones in the other', () => {
  assert.deepEqual(values(SPEC, '-device'), [
    'virtio-blk-pci,id=disk,drive=layer-3.qcow2,serial=vol-aaaaa,rerror=stop,werror=stop,bootindex=0',
    'virtio-blk-pci,id=seed,drive=seed',
    'virtio-rng-pci,rng=rng',
    'virtio-serial-pci',
    'virtserialport,chardev=agent,name=org.qemu.guest_agent.0',
    'virtio-net-pci,netdev=net,mac=52:54:00:12:34:56,romfile=',
  ])
  assert.deepEqual(values({ ...SPEC, compatibilityMode: true }, '-device'), [
    'ide-hd,bus=ide.0,id=disk,drive=layer-3.qcow2,serial=vol-aaaaa,rerror=stop,werror=stop,bootindex=0',
    'ide-cd,bus=ide.1,id=seed,drive=seed',
    'e1000,netdev=net,mac=52:54:00:12:34:56,romfile=',
  ])
})

test('arguments: the network is what the operator set', () => {
  const netdev = (network: MachineSpec['network']) => values({ ...SPEC, network }, '-netdev')
  const user = { kind: 'user', sshAddress: '127.0.0.1', sshPort: 2200 } as const
  const forward = 'hostfwd=tcp:127.0.0.1:2200-:22'
  assert.deepEqual(netdev({ ...user, isolated: false }), [`user,id=net,restrict=off,${forward}`])
  assert.deepEqual(netdev({ ...user, isolated: true }), [`user,id=net,restrict=on,${forward}`])
  assert.deepEqual(netdev({ kind: 'tap', device: 'il-tap3', bridge: 'br0' }), [
    'tap,id=net,ifname=il-tap3,script=no,downscript=no',
  ])
  assert.deepEqual(netdev({ kind: 'none' }), [])
  assert.throws(() => netdev({ ...user, sshAddress: '::1', isolated: false }), { code: 'unavailable' })
})

test('arguments: nothing is taken from elsewhere, and every socket is in the folder', () => {
  const args = machineArguments(SPEC)
  for (const option of ['-nodefaults', '-no-user-config']) assert.ok(args.includes(option))
  assert.deepEqual(values(SPEC, '-sandbox'), [
    'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
  ])
  assert.deepEqual(values(SPEC, '-vnc'), ['unix:vnc.sock'])
  for (const chardev of values(SPEC, '-chardev')) assert.match(chardev, /^socket,id=\w+,path=\w+\.sock,/)
  assert.ok(!args.some((arg) => arg.includes('/')))
})

test('arguments: KVM shows the guest the host’s processor', () => {
  assert.deepEqual(values({ ...SPEC, accelerator: 'kvm' }, '-cpu'), ['host'])
  assert.deepEqual(values(SPEC, '-cpu'), ['max'])
})
