import type { VolumeJson } from '#schema/volume.ts'
import type { Session } from '../session.ts'
import { printFill, printTime } from '../units.ts'
import { type Kind, list as listKind, show as showKind } from './places.ts'

const OFFICIAL = [
  ...['id', 'name', 'description', 'type', 'size', 'status', 'created_at', 'encrypted', 'serial', 'locked'],
  ...['filesystem_label', 'filesystem_type', 'image', 'source', 'source_type', 'server', 'boot'],
  ...['delete_with_server', 'zone'],
]

const VOLUMES: Kind<VolumeJson> = {
  collection: 'volumes',
  word: 'volume',
  scoped: true,
  listFields: ['id', 'type', 'size', 'status', 'server', 'boot', 'name'],
  // Ours come last.
  showFields: [...OFFICIAL, 'fill'],
  row: (volume) => ({
    ...volume,
    account: null,
    type: volume.storage_type,
    created_at: printTime(volume.created_at),
    image: volume.image.id,
    server: volume.server.id,
    zone: volume.zone.id,
    fill: printFill(volume.fill),
  }),
  compare: (a, b) => Date.parse(a.created_at) - Date.parse(b.created_at),
}

export const list = (session: Session, ids: readonly string[]) => listKind(session, VOLUMES, ids)
export const show = (session: Session, ids: readonly string[]) => showKind(session, VOLUMES, ids)
