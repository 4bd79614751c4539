import { isIPv4 } from 'node:net'
import { LibraryError } from '#base/errors.ts'
import type { Accelerator } from '#model/server.ts'
import { DISK_NODES, exportNode, fileNode, layerNode } from './disk-nodes.ts'
import { MACHINE_FILES, type MachineNetwork, type MachineSpec } from './machine.ts'

/** What QEMU may use for translated code, MiB; its own default is a gigabyte for each server. */
const TRANSLATED_CODE = 256

/** Ids of what is attached, by which it is spoken of later. */
export const DEVICE_IDS = { disk: 'disk' } as const

/**
 * The arguments of a server's QEMU, which runs in the server's folder. Nothing is probed, inherited from a
 * configuration, or reachable but by sockets in the folder.
 * @throws unavailable where its SSH port is to be forwarded from an address that QEMU cannot listen at
 */
export function machineArguments(spec: MachineSpec): string[] {
  return [
    ...['-name', `guest=${spec.id}`, '-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-machine', 'pc', ...acceleratorArguments(spec.accelerator)],
    ...['-smp', `cpus=${spec.cores},sockets=1,cores=${spec.cores}`, '-m', `${spec.ram}`],
    ...['-rtc', 'base=utc', '-boot', 'strict=on'],
    ...consoles(),
    ...disks(spec),
    // Systems without virtio drivers would see devices that they cannot use: the agent's channel leads nowhere.
    ...(spec.compatibilityMode ? [] : virtioDevices()),
    ...network(spec),
  ]
}

/** How the guest's code is run; a 32-bit guest has the same processor, as it would in a machine of today. */
export const acceleratorArguments = (accelerator: Accelerator): string[] =>
  accelerator === 'kvm'
    ? ['-accel', 'kvm', '-cpu', 'host']
    : ['-accel', `tcg,tb-size=${TRANSLATED_CODE}`, '-cpu', 'max']

function consoles(): string[] {
  const listen = (id: string, path: string) => `socket,id=${id},path=${path},server=on,wait=off`
  return [
    ...['-chardev', listen('monitor', MACHINE_FILES.monitor), '-mon', 'chardev=monitor,mode=control'],
    ...['-chardev', listen('serial', MACHINE_FILES.serial), '-serial', 'chardev:serial'],
    ...['-chardev', listen('agent', MACHINE_FILES.agent)],
    ...['-vga', 'std', '-vnc', `unix:${MACHINE_FILES.vnc}`],
  ]
}

function disks(spec: MachineSpec): string[] {
  const base = spec.base === 'export' ? exportNode() : fileNode(DISK_NODES.base, MACHINE_FILES.base)
  const layers = spec.layers.map((name, index) =>
    layerNode(name, {
      backing: spec.layers[index - 1] ?? base['node-name'],
      isReadOnly: index < spec.layers.length - 1,
    }),
  )
  const seed = fileNode(DISK_NODES.seed, MACHINE_FILES.seed)
  return [base, ...layers, seed]
    .flatMap((node) => ['-blockdev', JSON.stringify(node)])
    .concat(diskDevices(spec))
}

/** A guest whose host cannot read or write for it waits: an error would make it go on without what it wrote. */
function diskDevices({ compatibilityMode, diskSerial, layers }: MachineSpec): string[] {
  const [disk, seed] = compatibilityMode
    ? ['ide-hd,bus=ide.0', 'ide-cd,bus=ide.1']
    : ['virtio-blk-pci', 'virtio-blk-pci']
  const drive = [`id=${DEVICE_IDS.disk}`, `drive=${layers.at(-1)}`, `serial=${diskSerial}`]
  const options = [...drive, 'rerror=stop', 'werror=stop', 'bootindex=0']
  return [
    ...['-device', [disk, ...options].join(',')],
    ...['-device', `${seed},id=seed,drive=${DISK_NODES.seed}`],
  ]
}

const virtioDevices = (): string[] => [
  ...['-object', 'rng-builtin,id=rng', '-device', 'virtio-rng-pci,rng=rng'],
  ...['-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
]

function network({ network, macAddress, compatibilityMode }: MachineSpec): string[] {
  if (network.kind === 'none') return []
  // Without a ROM the firmware does not wait for a network to boot from.
  const card = `${compatibilityMode ? 'e1000' : 'virtio-net-pci'},netdev=net,mac=${macAddress},romfile=`
  return ['-netdev', netdev(network), '-device', card]
}

function netdev(network: Exclude<MachineNetwork, { kind: 'none' }>): string {
  if (network.kind === 'tap') return `tap,id=net,ifname=${network.device},script=no,downscript=no`
  const { sshAddress, sshPort, isolated } = network
  if (!isIPv4(sshAddress))
    throw new LibraryError(
      'unavailable',
      `forward SSH from ${sshAddress}: QEMU listens at IPv4 addresses only`,
      {
        hint: 'set servers.ssh_address to an IPv4 address, such as 127.0.0.1',
      },
    )
  return `user,id=net,restrict=${isolated ? 'on' : 'off'},hostfwd=tcp:${sshAddress}:${sshPort}-:22`
}
