import { totalmem } from 'node:os'
import { LibraryError } from '#base/errors.ts'
import type { ServerSettings } from '#control/servers/deps.ts'
import type { ReadSetting } from './settings.ts'

export interface ServersConfig extends ServerSettings {
  readonly accelerator: 'auto' | 'kvm' | 'tcg'
  /** Bytes of images' data per second that are copied to servers. */
  readonly fillRate: number | undefined
}

export interface NbdConfig {
  readonly host: string
  readonly port: number
  /** Paths of PEM files. */
  readonly tls: { readonly certificate: string; readonly key: string } | undefined
}

/** What is left for the system and the library where the operator does not say. */
const SERVERS_SHARE_OF_RAM = 3 / 4

export function readServers(read: ReadSetting): ServersConfig {
  const firstUid = read('servers.first_uid')
  return {
    accelerator: read('servers.accelerator'),
    fillRate: read('servers.fill_rate'),
    network: read('servers.network'),
    sshAddress: read('servers.ssh_address'),
    sshPorts: read('servers.ssh_ports'),
    // Only root can start a process as somebody else.
    firstUid: process.getuid?.() === 0 ? firstUid : undefined,
    perAccount: {
      servers: read('servers.per_account'),
      ram: read('servers.ram_per_account'),
      disk: read('servers.disk_per_account'),
    },
    ram: read('servers.ram') ?? Math.floor(totalmem() * SERVERS_SHARE_OF_RAM),
    snapshotSize: read('servers.snapshot_size'),
  }
}

/** @throws invalid where others than this machine could listen in */
export function readNbd(read: ReadSetting): NbdConfig | undefined {
  const where = read('nbd.listen')
  const certificate = read('nbd.certificate')
  const key = read('nbd.key')
  if ((certificate === undefined) !== (key === undefined))
    throw new LibraryError('invalid', 'nbd.certificate and nbd.key must be set together')
  const tls = certificate === undefined || key === undefined ? undefined : { certificate, key }
  if (where === undefined) return undefined
  if (tls === undefined && !/^(127\.|::1$|localhost$)/.test(where.host)) {
    throw new LibraryError('invalid', `nbd.listen must be a loopback address without nbd.certificate`, {
      hint: 'Over the network, access tokens and disks must be encrypted.',
    })
  }
  return { ...where, tls }
}
