import type { Server } from '#model/server.ts'
import type { Volume } from '#model/volume.ts'
import { type Context, record, saveTrouble, volumeOf } from './context.ts'
import type { Machine } from './qemu/machine.ts'
import { endOffer, type Runtime, troubleOf } from './runtime.ts'
import { removeOtherLayers } from './server-files.ts'
import { offerImage } from './starting.ts'

/** Does for a server that runs what is to be done meanwhile: its base, its layers, and what is shown of it. */
export async function keepUp(context: Context, runtime: Runtime, server: Server): Promise<void> {
  const { running } = runtime
  if (!running) return
  const volume = await volumeOf(context.options.catalog, server.id)
  // Before anything is asked of QEMU that has to wait for what it is reading.
  if (!volume.standsAlone) await offerImage(context, runtime, volume)
  if (server.status !== 'active') await becomeActive(context, server, volume)
  running.held.start()
  await settleBase(context, runtime, volume)
  await settleLayers(context, runtime, running.machine)
  await saveTrouble(context, server.id, troubleOf(context, runtime, volume.manifest))
}

async function becomeActive({ options }: Context, server: Server, volume: Volume): Promise<void> {
  const { catalog, hypervisor, now } = options
  const accelerator = await hypervisor.accelerator()
  await catalog.transaction(async (tables) => {
    const at = now()
    const active = { status: 'active', accelerator, startedAt: at, trouble: null, updatedAt: at } as const
    if (!(await tables.servers.update(server.id, active, ['creating', 'inactive']))) return
    if (volume.status === 'creating') {
      await tables.volumes.update(volume.id, { status: 'attached', updatedAt: at })
    }
    const mode = server.compatibilityMode ? 'compatibility' : 'virtio'
    const message = `The server was started in ${mode} mode by ${accelerator.toUpperCase()}.`
    await record(tables, server, { action: 'server.started', message, at })
  })
}

/**
 * Once the base is filled, the image is needed no more. QEMU changes over before the catalog says so: until then the
 * image's blocks are kept for it.
 */
export async function settleBase(context: Context, runtime: Runtime, volume: Volume): Promise<void> {
  if (volume.standsAlone) return endOffer(runtime)
  const { catalog, now } = context.options
  const { id, folder, running } = runtime
  if (!(await context.bases.linkOrFill(volume.manifest, { id, volumeId: volume.id, folder }))) return
  if (await running?.machine.usesExport()) await running?.machine.switchToBase()
  await catalog.transaction(async (tables) => {
    const at = now()
    const filled = { standsAlone: true, filled: volume.imageSize, updatedAt: at }
    const server = await tables.servers.find(id)
    if (!server || !(await tables.volumes.update(volume.id, filled))) return
    const message = 'All of the image was copied: the server needs it no more.'
    await record(tables, server, { action: 'server.filled', message, at })
  })
  await endOffer(runtime)
}

/** Merges layers that no snapshot reads any more; what is on disk and in the catalog then follows QEMU. */
async function settleLayers(context: Context, runtime: Runtime, machine: Machine): Promise<void> {
  const { catalog, library } = context.options
  if (runtime.layersUnsure) await followLayers(context, runtime, machine)
  const { layers } = await volumeOf(catalog, runtime.id)
  if (layers.length <= 2 || (await library.snapshots.frozenLayers(catalog, runtime.id)).size > 0) return
  // Whoever is urgent wakes the server afterwards.
  if (runtime.urgent > 0) return
  const merging = new AbortController()
  runtime.merging = merging
  runtime.layersUnsure = true
  try {
    await machine.mergeLayers(merging.signal)
  } catch (error) {
    // Whoever broke it off wakes the server again.
    if (!merging.signal.aborted) throw error
  } finally {
    runtime.merging = undefined
  }
  await followLayers(context, runtime, machine)
}

/** Believes QEMU about its layers. Whatever it does not use goes, after the catalog no longer lists it. */
export async function followLayers({ options }: Context, runtime: Runtime, machine: Machine): Promise<void> {
  const { catalog, now } = options
  const layers = await machine.layers()
  const volume = await volumeOf(catalog, runtime.id)
  if (layers.join() !== volume.layers.join()) {
    await catalog.transaction(({ volumes }) => volumes.update(volume.id, { layers, updatedAt: now() }))
  }
  await removeOtherLayers(runtime.folder, layers)
  runtime.layersUnsure = false
}
