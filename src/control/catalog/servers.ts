import type { Server, ServerStatus } from '#model/server.ts'

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
  /** Ports of servers that are not deleted. */
  listSshPorts(): Promise<number[]>
}
