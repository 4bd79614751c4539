import type { Metadata, Timestamp } from '#model/orbit.ts'
import type { TableContext } from './context.ts'

/** What an account has in Orbit. */
export interface OrbitAccount {
  readonly id: string
  readonly containerCount: number
  readonly objectCount: number
  readonly bytesUsed: number
  readonly createdAt: Timestamp
  readonly metadata: Metadata
  /** Whether its images are shown as a container. */
  readonly imagesContainer: boolean
}

export interface OrbitAccounts {
  find(id: string): Promise<OrbitAccount | undefined>
  /** The same, in a transaction that is going to change it. */
  findToChange(id: string): Promise<OrbitAccount | undefined>
  setMetadata(id: string, metadata: Metadata): Promise<void>
  setImagesContainer(id: string, shown: boolean): Promise<void>
}

export function orbitAccountsTable({ db, dialect }: TableContext): OrbitAccounts {
  const select = (id: string) => db.selectFrom('accounts').selectAll().where('id', '=', id)
  const toAccount = (row: Awaited<ReturnType<ReturnType<typeof select>['executeTakeFirst']>>) =>
    row && {
      id: row.id,
      containerCount: row.container_count,
      objectCount: row.object_count,
      bytesUsed: row.bytes_used,
      createdAt: row.created_at * 1000,
      metadata: JSON.parse(row.metadata) as Metadata,
      imagesContainer: row.images_container === 1,
    }
  return {
    async find(id) {
      return toAccount(await select(id).executeTakeFirst())
    },
    async findToChange(id) {
      return toAccount(await dialect.lockForChange(select(id)).executeTakeFirst())
    },
    async setMetadata(id, metadata) {
      const change = { metadata: JSON.stringify(metadata) }
      await db.updateTable('accounts').set(change).where('id', '=', id).execute()
    },
    async setImagesContainer(id, shown) {
      const change = { images_container: shown ? 1 : 0 }
      await db.updateTable('accounts').set(change).where('id', '=', id).execute()
    },
  }
}
