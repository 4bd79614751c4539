import { createHash } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Schema } from './schema.ts'

/**
 * Rows of every new catalog: the credentials built into the official clients (public knowledge: they only say which
 * program a user logs in with), sizes and zones of servers, and the counter of events.
 */
export async function seed(db: Kysely<unknown>): Promise<void> {
  const tables = db as Kysely<Schema>
  await tables
    .insertInto('applications')
    .values([
      application('app-12345', 'brightbox command line', 'mocbuipbiaa6k6c'),
      application('app-dkmch', 'Terraform provider', 'uogoelzgt0nwawb'),
    ])
    .execute()
  await tables
    .insertInto('server_types')
    .values([
      serverType('typ-05ssd', '512mb.ssd', 1, 512, 20_480),
      serverType('typ-w0hf9', '1gb.ssd', 1, 1024, 40_960),
      serverType('typ-2gssd', '2gb.ssd', 2, 2048, 61_440),
      serverType('typ-4gssd', '4gb.ssd', 2, 4096, 102_400),
      serverType('typ-8gssd', '8gb.ssd', 4, 8192, 163_840),
      serverType('typ-16ssd', '16gb.ssd', 8, 16_384, 327_680),
      { ...serverType('typ-1gnet', '1gb.net', 1, 1024, 0), storage_type: 'network' },
      { ...serverType('typ-4gnet', '4gb.net', 2, 4096, 0), storage_type: 'network' },
    ])
    .execute()
  await tables
    .insertInto('zones')
    .values([
      { id: 'zon-gb1aa', handle: 'gb1-a' },
      { id: 'zon-gb1bb', handle: 'gb1-b' },
    ])
    .execute()
  await tables.insertInto('counters').values({ name: 'events', value: 0 }).execute()
}

function application(id: string, name: string, secret: string) {
  return { id, name, secret_sha256: createHash('sha256').update(secret).digest('hex') }
}

function serverType(id: string, handle: string, cores: number, ram: number, diskSize: number) {
  const name = `${handle.replace(/\..*/, '').toUpperCase()} ${handle.endsWith('.net') ? 'Network' : 'SSD'}`
  return { id, name, handle, status: 'available', cores, ram, disk_size: diskSize, storage_type: 'local' }
}
