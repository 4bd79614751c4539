import type { Insertable, Selectable, Updateable } from 'kysely'
import type { Metadata, Timestamp } from '#model/orbit.ts'
import type { TableContext } from './context.ts'
import { type NameWalk, type Walked, walkNames } from './name-walk.ts'
import type { ContainerRow } from './schema-orbit.ts'

export interface ContainerRecord {
  readonly id: number
  readonly accountId: string
  readonly name: string
  readonly objectCount: number
  readonly bytesUsed: number
  readonly createdAt: Timestamp
  /** Of the container itself, not of its objects. */
  readonly updatedAt: Timestamp
  readonly metadata: Metadata
  readonly read: string | null
  readonly write: string | null
  readonly versions: { readonly mode: 'stack' | 'history'; readonly container: string } | null
}

export type ContainerAttributes = Pick<ContainerRecord, 'metadata' | 'read' | 'write' | 'versions'>

export interface Containers {
  find(accountId: string, name: string): Promise<ContainerRecord | undefined>
  /** The same, in a transaction that is going to change it or what is in it: nobody else does until its end. */
  findToChange(accountId: string, name: string): Promise<ContainerRecord | undefined>
  /** @returns undefined where there is one of that name */
  insert(
    path: Pick<ContainerRecord, 'accountId' | 'name'>,
    attributes: ContainerAttributes,
    at: Timestamp,
  ): Promise<ContainerRecord | undefined>
  update(id: number, attributes: ContainerAttributes, at: Timestamp): Promise<void>
  /** @returns whether it was empty, and so is gone */
  remove(container: Pick<ContainerRecord, 'id' | 'accountId'>): Promise<boolean>
  /** Containers of an account in the order of their names' bytes. */
  walk(accountId: string, walk: NameWalk): Promise<Walked<ListedContainer>[]>
}

export type ListedContainer = Pick<ContainerRecord, 'name' | 'objectCount' | 'bytesUsed' | 'updatedAt'>

export function containersTable(context: TableContext): Containers {
  const { db, dialect } = context
  const select = (accountId: string, name: string) =>
    db.selectFrom('containers').selectAll().where('account_id', '=', accountId).where('name', '=', name)
  /** Adds to the account's number of containers. */
  const count = (accountId: string, containers: number) =>
    db
      .updateTable('accounts')
      .set((eb) => ({ container_count: eb('container_count', '+', containers) }))
      .where('id', '=', accountId)
      .execute()
  return {
    async find(accountId, name) {
      const row = await select(accountId, name).executeTakeFirst()
      return row && toContainer(row)
    },
    async findToChange(accountId, name) {
      const row = await dialect.lockForChange(select(accountId, name)).executeTakeFirst()
      return row && toContainer(row)
    },
    async insert({ accountId, name }, attributes, at) {
      const row: Insertable<ContainerRow> = {
        account_id: accountId,
        name,
        object_count: 0,
        bytes_used: 0,
        created_at: at,
        updated_at: at,
        ...toRow(attributes),
      }
      const query = db
        .insertInto('containers')
        .values(row)
        .onConflict((conflict) => conflict.doNothing())
      const inserted = await query.returningAll().executeTakeFirst()
      if (inserted) await count(accountId, 1)
      return inserted && toContainer(inserted)
    },
    async update(id, attributes, at) {
      const change: Updateable<ContainerRow> = { ...toRow(attributes), updated_at: at }
      await db.updateTable('containers').set(change).where('id', '=', id).execute()
    },
    async remove({ id, accountId }) {
      const query = db.deleteFrom('containers').where('id', '=', id).where('object_count', '=', 0)
      const removed = await query.returning('id').executeTakeFirst()
      if (removed) await count(accountId, -1)
      return removed !== undefined
    },
    walk: (accountId, walk) =>
      walkNames(context, {
        table: 'containers',
        key: 'account_id',
        value: accountId,
        columns: ['object_count', 'bytes_used', 'updated_at'],
        walk,
        read: (
          row: Pick<Selectable<ContainerRow>, 'name' | 'object_count' | 'bytes_used' | 'updated_at'>,
        ) => ({
          name: row.name,
          objectCount: row.object_count,
          bytesUsed: row.bytes_used,
          updatedAt: row.updated_at,
        }),
      }),
  }
}

function toRow({ metadata, read, write, versions }: ContainerAttributes) {
  return {
    metadata: JSON.stringify(metadata),
    read_acl: read,
    write_acl: write,
    versions_mode: versions?.mode ?? null,
    versions_container: versions?.container ?? null,
  }
}

export function toContainer(row: Selectable<ContainerRow>): ContainerRecord {
  const { versions_mode: mode, versions_container: container } = row
  return {
    id: row.id,
    accountId: row.account_id,
    name: row.name,
    objectCount: row.object_count,
    bytesUsed: row.bytes_used,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    metadata: JSON.parse(row.metadata) as Metadata,
    read: row.read_acl,
    write: row.write_acl,
    versions: mode === null || container === null ? null : { mode: mode as 'stack' | 'history', container },
  }
}
