import type { Volume } from '#model/volume.ts'

export interface Volumes {
  insert(volume: Omit<Volume, 'id'>): Promise<Volume>
  find(id: string): Promise<Volume | undefined>
  /** Of a server, also of a deleted one; oldest first. */
  ofServers(serverIds: readonly string[]): Promise<Volume[]>
  /** Of an account, oldest first: those that exist, and those deleted at or after `deletedSince`. */
  list(accountId: string, deletedSince: number): Promise<Volume[]>
  update(
    id: string,
    change: Partial<Omit<Volume, 'id' | 'accountId' | 'serverId'>>,
  ): Promise<Volume | undefined>
  /** Of volumes that still need them: those that exist and do not stand alone. */
  listManifests(): Promise<string[]>
  /** Bytes of those of an account that are not deleted. */
  sumSize(accountId: string): Promise<number>
}
