import { join } from 'node:path'
import type { Tables } from '#control/catalog/catalog.ts'
import { type Actor, type EventAction, SYSTEM } from '#model/event.ts'
import type { Server, ServerTrouble } from '#model/server.ts'
import type { Volume } from '#model/volume.ts'
import type { Bases } from './bases.ts'
import type { ServersOptions, Timer } from './deps.ts'
import type { HostMemory } from './host-memory.ts'
import type { UnixUser } from './qemu/machine.ts'

/** What all parts of the servers work with. */
export interface Context {
  readonly options: ServersOptions
  readonly timer: Timer
  readonly bases: Bases
  readonly memory: HostMemory
}

export const folderOf = ({ folder }: Pick<ServersOptions, 'folder'>, id: string) => join(folder, id)

/** Whom a server's QEMU and files belong to. */
export function ownerOf(
  { settings }: Pick<ServersOptions, 'settings'>,
  { slot }: Pick<Server, 'slot'>,
): UnixUser | undefined {
  if (settings.firstUid === undefined) return undefined
  return { uid: settings.firstUid + slot, gid: settings.firstUid + slot }
}

/** The only one that a server has. */
export async function volumeOf(tables: Pick<Tables, 'volumes'>, id: string): Promise<Volume> {
  const [volume] = await tables.volumes.ofServers([id])
  if (!volume) throw new Error(`internal error: server ${id} has no volume`)
  return volume
}

interface Happening {
  readonly action: EventAction
  readonly message: string
  readonly at: number
  readonly actor?: Actor
}

/** Writes down a change of a server's state, in the transaction that makes it. */
export async function record(
  tables: Tables,
  { id: resourceId, accountId }: Pick<Server, 'id' | 'accountId'>,
  { action, message, at, actor = SYSTEM }: Happening,
): Promise<void> {
  await tables.events.add({ resourceId, accountId, action, message, actor, createdAt: at })
}

const STATUSES = ['creating', 'active', 'inactive', 'deleting', 'failed'] as const

/** Shows what stands in a server's way; null once nothing does. */
export async function saveTrouble(
  { options: { catalog, now } }: Context,
  id: string,
  trouble: ServerTrouble | null,
): Promise<void> {
  const shown = (await catalog.servers.find(id))?.trouble ?? null
  if (shown?.message === trouble?.message && shown?.hint === trouble?.hint) return
  await catalog.relaxed((tables) => tables.servers.update(id, { trouble, updatedAt: now() }, STATUSES))
}
