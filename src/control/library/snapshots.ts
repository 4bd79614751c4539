import type { Tables } from '#control/catalog/catalog.ts'
import { type Image, NEW_IMAGE } from '#model/image.ts'
import { record } from './access.ts'
import { type LibraryOptions, type RegistrationPayload, SNAPSHOT, type VolumePayload } from './deps.ts'
import type { Feed } from './feed.ts'
import type { Library, SnapshotOf } from './library.ts'
import { waitingProgress } from './progress-board.ts'
import type { UploadRoom } from './upload-room.ts'

export interface SnapshotsDeps {
  readonly options: Pick<LibraryOptions, 'jobs' | 'now'>
  readonly feed: Feed
  readonly room: UploadRoom
}

/** Images made of servers' disks: registrations whose source is a volume. */
export function createSnapshots({ options, feed, room }: SnapshotsDeps): Library['snapshots'] {
  const { jobs, now } = options
  return {
    async register(tables, snapshot) {
      const { accountId, serverId, actor } = snapshot
      await room.demandImage(tables, accountId, false)
      const at = now()
      const image = await tables.images.insert({ ...imageOf(snapshot), createdAt: at, updatedAt: at })
      const payload = payloadOf(snapshot)
      const job = { kind: SNAPSHOT, subject: image.id, accountId, payload, runAt: at, createdAt: at }
      await tables.jobs.insert(job)
      const message = `The snapshot of server ${serverId} was taken.`
      await record(tables, { image, action: 'image.registered', message, actor, at })
      return image
    },
    async frozenLayers(tables, serverId) {
      const layers = new Set<string>()
      for (const payload of await volumesRead(tables, serverId))
        for (const layer of payload.layers) layers.add(layer)
      return layers
    },
    wake() {
      feed.wake()
      void jobs.poll()
    },
  }
}

async function volumesRead(tables: Pick<Tables, 'jobs' | 'servers'>, serverId: string) {
  const server = await tables.servers.find(serverId)
  const jobs = server ? await tables.jobs.listOfAccount(SNAPSHOT, server.accountId) : []
  return jobs
    .map(({ payload }) => payload as RegistrationPayload)
    .filter((payload) => payload.source === 'volume')
    .filter((payload) => payload.serverId === serverId)
}

function imageOf(snapshot: SnapshotOf): Omit<Image, 'id' | 'createdAt' | 'updatedAt'> {
  const { serverId, accountId, name, description, trigger, ancestor, compatibilityMode } = snapshot
  return {
    ...NEW_IMAGE,
    accountId,
    name,
    description,
    arch: ancestor.arch,
    username: ancestor.username,
    minRam: ancestor.minRam,
    licenceName: ancestor.licenceName,
    ancestorId: ancestor.id,
    sourceType: 'snapshot',
    sourceTrigger: trigger,
    source: serverId,
    compatibilityMode,
    public: false,
    progress: waitingProgress(1),
  }
}

function payloadOf({
  serverId,
  size,
  manifest,
  folder,
  baseFile,
  layers,
  dataLimit,
}: SnapshotOf): VolumePayload {
  return {
    source: 'volume',
    serverId,
    size,
    ...(manifest === undefined ? {} : { manifest }),
    folder,
    baseFile,
    layers,
    dataLimit,
  }
}
