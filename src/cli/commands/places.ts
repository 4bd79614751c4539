import type { ServerTypeJson, ZoneJson } from '#schema/place.ts'
import { ApiError, CommandError } from '../failure.ts'
import type { Session } from '../session.ts'
import type { Row } from '../table.ts'

/** A kind of thing that is only ever listed and shown. */
export interface Kind<T> {
  readonly collection: string
  /** What a warning calls one of them. */
  readonly word: string
  readonly scoped: boolean
  readonly listFields: readonly string[]
  readonly showFields: readonly string[]
  row(item: T): Row
  compare(a: T, b: T): number
}

const TYPES: Kind<ServerTypeJson> = {
  collection: 'server_types',
  word: 'server type',
  scoped: true,
  listFields: ['id', 'name', 'handle', 'ram', 'disk', 'cores'],
  showFields: ['id', 'handle', 'status', 'name', 'ram', 'disk', 'cores'],
  row: (type) => ({ ...type, disk: type.disk_size }),
  compare: (a, b) => a.ram - b.ram,
}

const ZONES: Kind<ZoneJson> = {
  collection: 'zones',
  word: 'zone',
  scoped: true,
  listFields: ['id', 'handle'],
  showFields: ['id', 'handle'],
  row: (zone) => zone,
  compare: (a, b) => (a.handle < b.handle ? -1 : 1),
}

interface UserJson {
  readonly id: string
  readonly name: string
  readonly email_address: string
  readonly ssh_key: string | null
  readonly accounts: readonly unknown[]
}

const USERS: Kind<UserJson> = {
  collection: 'users',
  word: 'user',
  scoped: false,
  listFields: ['id', 'name', 'email_address', 'accounts'],
  showFields: ['id', 'name', 'email_address', 'accounts', 'ssh_key'],
  row: (user) => ({
    id: user.id,
    name: user.name,
    email_address: user.email_address,
    accounts: user.accounts.length,
    ssh_key: user.ssh_key?.trim(),
  }),
  compare: () => 0,
}

async function readSome<T>(session: Session, kind: Kind<T>, ids: readonly string[]): Promise<T[]> {
  const { api } = await session.connect()
  const items: T[] = []
  for (const id of ids) {
    const attempt = `read ${kind.word} ${id}`
    const path = `${kind.collection}/${encodeURIComponent(id)}`
    try {
      items.push(await api.get<T>(path, { attempt, scoped: kind.scoped }))
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error
      session.terminal.info(`WARN: Couldn't find ${kind.word} ${id}`)
    }
  }
  if (items.length === 0) throw new CommandError(`read ${kind.word}s: none of these exists`)
  return items
}

export async function list<T>(session: Session, kind: Kind<T>, ids: readonly string[]) {
  const { api } = await session.connect()
  const attempt = `list ${kind.word}s`
  const items =
    ids.length > 0
      ? await readSome(session, kind, ids)
      : await api.get<T[]>(kind.collection, { attempt, scoped: kind.scoped })
  const sorted = items.toSorted(kind.compare)
  session.printRows(kind.listFields, sorted.map(kind.row), sorted)
}

export async function show<T>(session: Session, kind: Kind<T>, ids: readonly string[]) {
  if (ids.length === 0) throw new CommandError(`You must specify the ${kind.word}s to show`)
  const items = await readSome(session, kind, ids)
  const records = items.map((item) => {
    const row = kind.row(item)
    return kind.showFields.map((field) => [field, row[field]] as const)
  })
  session.printRecords(records, items.length === 1 ? items[0] : items)
}

export const listTypes = (session: Session, ids: readonly string[]) => list(session, TYPES, ids)
export const showTypes = (session: Session, ids: readonly string[]) => show(session, TYPES, ids)
export const listZones = (session: Session, ids: readonly string[]) => list(session, ZONES, ids)
export const showZones = (session: Session, ids: readonly string[]) => show(session, ZONES, ids)
export const listUsers = (session: Session, ids: readonly string[]) => list(session, USERS, ids)
export const showUsers = (session: Session, ids: readonly string[]) => show(session, USERS, ids)
