import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import { orAbort } from '#base/or-abort.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import type { Server } from '#model/server.ts'
import type { Volume } from '#model/volume.ts'
import { decodeUserData } from './attributes.ts'
import { type Context, volumeOf } from './context.ts'
import { tapName } from './network/tap.ts'
import { freePort } from './ports.ts'
import { MACHINE_FILES, type Machine, type MachineNetwork } from './qemu/machine.ts'
import { endOffer, type Runtime } from './runtime.ts'
import { createSeed } from './seed/seed.ts'
import {
  addLayerFile,
  FIRST_LAYER,
  isThere,
  makeFolder,
  nextLayer,
  removeOtherLayers,
  writeSeed,
} from './server-files.ts'

/**
 * Puts in place what a machine needs, and starts it. Each step finds what one before it left behind, so that it can be
 * done again after a crash anywhere.
 */
export async function startMachine(
  context: Context,
  runtime: Runtime,
  server: Server,
  signal: AbortSignal,
): Promise<Machine> {
  const { catalog, hypervisor } = context.options
  const { folder, owner } = runtime
  context.memory.claim(server.id, server.ram)
  try {
    await makeFolder(folder, owner)
    const volume = await volumeOf(catalog, server.id)
    const layers = await prepareLayers(context, runtime, server, volume)
    await writeSeed(folder, await seedOf(catalog, server), owner)
    const base = (await prepareBase(context, runtime, volume)) ? 'file' : 'export'
    const { cores, ram, compatibilityMode, macAddress, id } = server
    const accelerator = await orAbort(hypervisor.accelerator(), signal)
    const network = networkOf(context, await withRightPort(context, runtime, server))
    const guest = { id, accelerator, cores, ram, compatibilityMode, macAddress, network }
    const disk = { base, layers, diskSerial: volume.id, diskSize: volume.size } as const
    return await hypervisor.start({ ...guest, ...disk, folder, user: owner }, signal)
  } catch (error) {
    context.memory.free(server.id)
    await endOffer(runtime)
    if (isPortTaken(error) && server.sshPort !== null) runtime.takenPorts.add(server.sshPort)
    throw error
  }
}

/** @returns whether the image is read from the base now; else it is offered at the folder's socket */
async function prepareBase(context: Context, runtime: Runtime, volume: Volume): Promise<boolean> {
  const base = join(runtime.folder, MACHINE_FILES.base)
  if (volume.standsAlone && (await isThere(base))) return true
  const { id, folder } = runtime
  // Filling can wait until the server runs, which is faster without.
  if (await context.bases.link(volume.manifest, { id, folder })) return true
  if (volume.standsAlone) throw new LibraryError('corrupt', `the base of volume ${volume.id} is missing`)
  await offerImage(context, runtime, volume)
  return false
}

/** Offers the image's disk to the server's QEMU, unless that is done already. */
export async function offerImage(context: Context, runtime: Runtime, { manifest }: Volume): Promise<void> {
  const path = join(runtime.folder, MACHINE_FILES.exportSocket)
  runtime.offered ??= await context.options.offer({ path, manifest, owner: runtime.owner })
}

/** The layers that the machine is to have: the last one is nobody else's to read. */
async function prepareLayers(
  { options }: Context,
  { folder, owner }: Runtime,
  server: Server,
  volume: Volume,
): Promise<readonly string[]> {
  const { catalog, createLayer, library, now } = options
  const { size, layers } = volume
  if (server.status === 'creating' && !(await isThere(join(folder, FIRST_LAYER)))) {
    await addLayerFile(createLayer, folder, { name: FIRST_LAYER, size, owner })
  }
  for (const name of layers) {
    if (await isThere(join(folder, name))) continue
    throw new LibraryError('corrupt', `${name} of volume ${volume.id} is missing`)
  }
  await removeOtherLayers(folder, layers)
  const frozen = await library.snapshots.frozenLayers(catalog, server.id)
  if (!frozen.has(layers.at(-1) ?? '')) return layers
  const name = await nextLayer(folder, layers)
  await addLayerFile(createLayer, folder, { name, size, owner })
  const more = [...layers, name]
  await catalog.transaction(({ volumes }) => volumes.update(volume.id, { layers: more, updatedAt: now() }))
  return more
}

/** What cloud-init is told; made anew for each start, as keys and user data may have changed. */
async function seedOf(tables: Tables, server: Server): Promise<Uint8Array> {
  const users = await tables.users.listOfAccount(server.accountId)
  const keys = await tables.sshKeys.list(server.accountId, null)
  for (const user of users) keys.push(...(await tables.sshKeys.list(server.accountId, user.id)))
  const lines = [
    ...users.flatMap(({ sshKey }) => sshKey?.split('\n') ?? []),
    ...keys.map(({ type, blob, name }) => `${type} ${blob} ${name ?? ''}`),
  ]
  return createSeed({
    instanceId: server.id,
    hostname: server.id,
    sshKeys: [...new Set(lines.map((line) => line.trim()).filter(Boolean))],
    userData: server.userData === null ? undefined : decodeUserData(server.userData),
  })
}

/**
 * The server with the port that its network is to have: none where the operator's settings forward none by now, another
 * where QEMU did not get the one it had.
 */
async function withRightPort({ options }: Context, { takenPorts }: Runtime, server: Server): Promise<Server> {
  const { catalog, settings, now } = options
  const isForwarded = settings.network.kind === 'user'
  const { sshPort: port } = server
  if (port === null ? !isForwarded : isForwarded && !takenPorts.has(port)) return server
  return catalog.transaction(async ({ servers }) => {
    const taken = [...(await servers.listSshPorts()), ...takenPorts]
    const sshPort = isForwarded ? freePort(taken, settings.sshPorts) : null
    return (await servers.update(server.id, { sshPort, updatedAt: now() }, [server.status])) ?? server
  })
}

/** As QEMU says it: "Could not set up host forwarding rule 'tcp:127.0.0.1:2200-:22'". */
const isPortTaken = (error: unknown) =>
  error instanceof LibraryError && /host forward/i.test(`${error.message} ${error.hint ?? ''}`)

function networkOf({ options: { settings } }: Context, server: Server): MachineNetwork {
  const { network, sshAddress } = settings
  const { sshPort } = server
  if (network.kind === 'bridge') return { kind: 'tap', device: tapName(server), bridge: network.bridge }
  if (network.kind === 'none' || sshPort === null) return { kind: 'none' }
  return { kind: 'user', sshAddress, sshPort, isolated: network.isolated }
}
