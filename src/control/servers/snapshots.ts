import { relative } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import { actorOf } from '#control/library/access.ts'
import type { Image } from '#model/image.ts'
import { hasBytes } from '#model/image-rules.ts'
import type { Server } from '#model/server.ts'
import { canDo } from '#model/server-rules.ts'
import type { Session } from '#model/session.ts'
import type { Volume } from '#model/volume.ts'
import { type Context, record, volumeOf } from './context.ts'
import type { Machine } from './qemu/machine.ts'
import { findMachine } from './running.ts'
import type { Runtime } from './runtime.ts'
import { addLayerFile, nextLayer } from './server-files.ts'
import { followLayers } from './upkeep.ts'

/** Snapshots of one server that are being read at a time: each is a layer that every read goes through. */
const LAYERS_MAX = 16

/**
 * Freezes a server's disk and registers what it is at this moment. To be called when nothing else is done with the
 * server.
 */
export async function takeSnapshot(context: Context, runtime: Runtime, session: Session): Promise<Image> {
  const { catalog, library } = context.options
  const server = await catalog.servers.find(runtime.id)
  demandDisk(runtime.id, server)
  // One that is not found would write to what is to be read.
  await findMachine(context, runtime, server)
  const volume = await volumeOf(catalog, server.id)
  if (volume.layers.length >= LAYERS_MAX) {
    const message = `${volume.layers.length - 1} snapshots of server ${server.id} are being made`
    throw new LibraryError('conflict', message, { hint: 'Wait for one of them to be available.' })
  }
  const { running } = runtime
  const { layers, how } = running
    ? await freeze(context, runtime, running.machine)
    : { layers: volume.layers, how: 'while it did not run' }
  const image = await catalog.transaction(async (tables) => {
    const current = await tables.servers.find(server.id)
    demandDisk(server.id, current)
    return register(tables, context, runtime, { server: current, layers, session, how })
  })
  library.snapshots.wake()
  return image
}

function demandDisk(id: string, server: Server | undefined): asserts server is Server {
  if (server && server.goal !== 'deleted' && canDo('snapshot', server.status)) return
  const status = server?.goal === 'deleted' ? 'being deleted' : (server?.status ?? 'deleted')
  throw new LibraryError('conflict', `server ${id} is ${status}: there is no disk to make a snapshot of`)
}

/**
 * From now on the guest writes to a new layer. The catalog lists it before QEMU uses it: a crash in between leaves an
 * empty layer on top, through which the disk reads the same. Listed too late, it would lose what was written to it.
 * @returns the layers that change no more, and how that was done, for people
 */
async function freeze(
  context: Context,
  runtime: Runtime,
  machine: Machine,
): Promise<Pick<Registration, 'layers' | 'how'>> {
  const { catalog, createLayer, now } = context.options
  const { folder, owner, id } = runtime
  if (runtime.layersUnsure) await followLayers(context, runtime, machine)
  const volume = await volumeOf(catalog, id)
  const name = await nextLayer(folder, volume.layers)
  try {
    await addLayerFile(createLayer, folder, { name, size: volume.size, owner })
  } catch (cause) {
    throw new LibraryError('unavailable', `make a layer for the snapshot of server ${id}`, {
      cause,
      hint: 'The host may be full; try again later, and tell the operator if it lasts.',
    })
  }
  runtime.layersUnsure = true
  const layers = [...volume.layers, name]
  await catalog.transaction(({ volumes }) => volumes.update(volume.id, { layers, updatedAt: now() }))
  try {
    const { pausedMs, frozen } = await machine.addLayer(name)
    runtime.layersUnsure = false
    const state = frozen ? 'with its file systems frozen' : 'as after a power failure'
    return { layers: volume.layers, how: `${state}, the guest paused for ${Math.ceil(pausedMs)} ms` }
  } catch (error) {
    // Where QEMU does not say what it has now, the longer list is right whatever it did.
    await followLayers(context, runtime, machine).catch(() => {})
    throw error
  }
}

interface Registration {
  readonly server: Server
  readonly layers: readonly string[]
  readonly session: Session
  readonly how: string
}

async function register(
  tables: Tables,
  { options, bases }: Context,
  { folder }: Runtime,
  { server, layers, session, how }: Registration,
): Promise<Image> {
  const { library, settings, now } = options
  const { id, accountId, name, compatibilityMode } = server
  const volume = await volumeOf(tables, id)
  const ancestor = await tables.images.find(server.imageId)
  if (!ancestor) throw new Error(`internal error: server ${id} has no image`)
  const at = now()
  const actor = actorOf(session)
  const time = new Date(at).toISOString().slice(0, 16).replace('T', ' ')
  const image = await library.snapshots.register(tables, {
    serverId: id,
    accountId,
    actor,
    name: `Snapshot of ${id} ${time}`,
    description: name === '' ? null : `Snapshot of server ${name}`,
    trigger: 'manual',
    ancestor,
    compatibilityMode,
    size: volume.size,
    manifest: isKept(volume, ancestor) ? volume.manifest : undefined,
    folder,
    // Not the link in the server's folder, which its QEMU could replace.
    baseFile: relative(folder, bases.pathOf(volume.manifest)),
    layers,
    dataLimit: settings.snapshotSize,
  })
  const message = `Snapshot ${image.id} was taken ${how}.`
  await record(tables, server, { action: 'server.snapshot', message, at, actor })
  return image
}

/** Whether the manifest's blocks are surely there, and stay until the snapshot has read what it needs. */
const isKept = (volume: Volume, ancestor: Image) =>
  !volume.standsAlone || (hasBytes(ancestor) && ancestor.manifest === volume.manifest)
