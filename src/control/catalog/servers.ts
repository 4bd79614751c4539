import { sql } from 'kysely'
import type { Accelerator, Server, ServerGoal, ServerStatus } from '#model/server.ts'
import { insertWithNewId, type TableContext } from './context.ts'
import type { ServerRow } from './schema-servers.ts'
import { toRow } from './to-row.ts'

export interface Servers {
  /** Gives it an id and the smallest slot that no server has which is not deleted. */
  insert(server: Omit<Server, 'id' | 'slot'>): Promise<Server>
  find(id: string): Promise<Server | undefined>
  /** Of an account, oldest first: those that exist, and those deleted at or after `deletedSince`. */
  list(accountId: string, deletedSince: number): Promise<Server[]>
  /** Of all accounts, those that are not deleted. */
  listExisting(): Promise<Server[]>
  /** @returns the server as it is now; undefined, with nothing changed, where its status is none of these */
  update(
    id: string,
    change: Partial<Omit<Server, 'id' | 'accountId' | 'slot'>>,
    statuses: readonly ServerStatus[],
  ): Promise<Server | undefined>
  /** Of those of an account that are not deleted: how many, and MiB of memory. */
  sums(accountId: string): Promise<{ readonly servers: number; readonly ram: number }>
  /** How many there are of each status that some have, deleted ones left out. */
  countByStatus(): Promise<{ readonly status: ServerStatus; readonly count: number }[]>
  /** Ports of servers that are not deleted. */
  listSshPorts(): Promise<number[]>
}

export function serversTable({ db, random }: TableContext): Servers {
  // A literal, not a parameter: a database uses an index of some rows only where the query's text shows it may.
  const existing = () => db.selectFrom('servers').where('status', '<>', sql.lit('deleted'))

  /** 0, or one above a slot that is taken; the smallest of these that is free. */
  async function freeSlot(): Promise<number> {
    const taken = existing().select('slot')
    const above = existing().select((server) => server('slot', '+', 1).as('slot'))
    const { slot } = await db
      .selectFrom(above.unionAll(db.selectNoFrom(sql.lit(0).as('slot'))).as('candidates'))
      .select((candidate) => candidate.fn.min<number>('slot').as('slot'))
      .where('slot', 'not in', taken)
      .executeTakeFirstOrThrow()
    return slot
  }

  return {
    async insert(server) {
      const row = toRow(server) as Omit<ServerRow, 'id' | 'slot'>
      let slot = 0
      // Somebody else may take the slot in between: then nothing is inserted either, and both are drawn again.
      const id = await insertWithNewId('srv', random, async (id) => {
        slot = await freeSlot()
        const query = db
          .insertInto('servers')
          .values({ id, slot, ...row })
          .onConflict((conflict) => conflict.doNothing())
        return (await query.returning('id').executeTakeFirst()) !== undefined
      })
      return { id, slot, ...server }
    },
    async find(id) {
      const row = await db.selectFrom('servers').selectAll().where('id', '=', id).executeTakeFirst()
      return row && toServer(row)
    },
    async list(accountId, deletedSince) {
      const deleted = db
        .selectFrom('servers')
        .select('id')
        .where('account_id', '=', accountId)
        .where('status', '=', sql.lit('deleted'))
        .where('deleted_at', '>=', deletedSince)
      const listed = existing().select('id').where('account_id', '=', accountId).unionAll(deleted)
      const query = db.selectFrom('servers').selectAll().where('id', 'in', listed)
      return (await query.orderBy('created_at').orderBy('id').execute()).map(toServer)
    },
    async listExisting() {
      return (await existing().selectAll().orderBy('created_at').orderBy('id').execute()).map(toServer)
    },
    async countByStatus() {
      const query = existing().select((server) => ['status', server.fn.countAll<number>().as('count')])
      const rows = await query.groupBy('status').execute()
      return rows.map(({ status, count }) => ({ status: status as ServerStatus, count }))
    },
    async update(id, change, statuses) {
      const query = db.updateTable('servers').set(toRow(change)).where('id', '=', id)
      const row = await query.where('status', 'in', statuses).returningAll().executeTakeFirst()
      return row && toServer(row)
    },
    async sums(accountId) {
      const { servers, ram } = await existing()
        .select(({ fn }) => [fn.countAll().as('servers'), fn.sum<number | string | null>('ram').as('ram')])
        .where('account_id', '=', accountId)
        .executeTakeFirstOrThrow()
      return { servers: Number(servers), ram: Number(ram ?? 0) }
    },
    async listSshPorts() {
      const query = existing().select('ssh_port').where('ssh_port', 'is not', null)
      return (await query.$narrowType<{ ssh_port: number }>().execute()).map(({ ssh_port: port }) => port)
    },
  }
}

const parsed = <T>(text: string | null) => (text === null ? null : (JSON.parse(text) as T))

function toServer(row: ServerRow): Server {
  return {
    id: row.id,
    accountId: row.account_id,
    name: row.name,
    status: row.status as ServerStatus,
    goal: row.goal as ServerGoal,
    locked: row.locked === 1,
    typeId: row.type_id,
    cores: row.cores,
    ram: row.ram,
    zoneId: row.zone_id,
    imageId: row.image_id,
    compatibilityMode: row.compatibility_mode === 1,
    userData: row.user_data,
    macAddress: row.mac_address,
    slot: row.slot,
    sshPort: row.ssh_port,
    accelerator: row.accelerator as Accelerator | null,
    trouble: parsed<NonNullable<Server['trouble']>>(row.trouble),
    console: parsed<NonNullable<Server['console']>>(row.console),
    createdAt: row.created_at,
    startedAt: row.started_at,
    deletedAt: row.deleted_at,
    updatedAt: row.updated_at,
  }
}
