import { type Static, Type } from 'typebox'
import type { Account } from '#model/account.ts'
import type { Server } from '#model/server.ts'
import {
  identity,
  integer,
  line,
  nullableInteger,
  nullableString,
  nullableTime,
  oneOf,
  printTime,
  time,
  urlOf,
} from './fields.ts'
import { NestedServerSchema, printNestedServer } from './nested-server.ts'

const reference = (prefix: string, type: string) =>
  Type.Object({ ...identity(prefix, type), name: nullableString() })

export const AccountReferenceSchema = Type.Object({
  ...identity('acc', 'account'),
  name: Type.String(),
  status: Type.String(),
})
export type AccountReferenceJson = Static<typeof AccountReferenceSchema>

const empty = Type.Array(Type.Unknown(), { description: 'always empty here', maxItems: 0 })

const nested = {
  clients: Type.Array(reference('cli', 'api_client')),
  images: Type.Array(reference('img', 'image')),
  users: Type.Array(reference('usr', 'user')),
  zones: Type.Array(reference('zon', 'zone')),
  servers: Type.Array(NestedServerSchema),
  load_balancers: empty,
  database_servers: empty,
  database_snapshots: empty,
  cloud_ips: empty,
  server_groups: empty,
  firewall_policies: empty,
  volumes: Type.Array(reference('vol', 'volume')),
}

const retired = () => nullableString('always null here')

export const AccountSchema = Type.Object(
  {
    ...AccountReferenceSchema.properties,
    status: oneOf([
      'pending',
      'active',
      'overdue',
      'warning',
      'suspended',
      'terminated',
      'closed',
      'deleted',
    ]),
    address_1: retired(),
    address_2: retired(),
    city: retired(),
    county: retired(),
    postcode: retired(),
    country_code: retired(),
    country_name: retired(),
    vat_registration_number: retired(),
    telephone_number: retired(),
    telephone_verified: Type.Boolean(),
    verified_telephone: retired(),
    verified_at: nullableTime('always null here'),
    verified_ip: retired(),
    created_at: time(),
    servers_used: integer('servers that exist'),
    ram_limit: nullableInteger('MiB; 0 for no limit'),
    ram_used: integer('MiB of the memory of servers that exist'),
    block_storage_limit: nullableInteger('MiB; 0 for no limit'),
    block_storage_used: integer('MiB of their disks'),
    cloud_ips_limit: nullableInteger('count'),
    cloud_ips_used: integer('count'),
    load_balancers_limit: nullableInteger('count'),
    load_balancers_used: integer('count'),
    dbs_instances_used: integer('count'),
    dbs_ram_limit: nullableInteger('MiB'),
    dbs_ram_used: integer('MiB'),
    valid_credit_card: Type.Boolean(),
    library_ftp_host: retired(),
    library_ftp_user: retired(),
    library_ftp_password: retired(),
    owner: Type.Optional(reference('usr', 'user')),
    ...Object.fromEntries(Object.entries(nested).map(([key, schema]) => [key, Type.Optional(schema)])),
  },
  { $id: 'Account', description: 'An owner of images' },
)

export const AccountUpdateSchema = Type.Object(
  { name: Type.Optional(Type.String({ ...line(255, 'shown to people'), minLength: 1 })) },
  { $id: 'AccountUpdate', description: 'What is to change', additionalProperties: false },
)

interface Named {
  readonly id: string
  readonly name: string | null
}

/** What an account's full view lists; left out where the caller asked for `nested=false`. */
export interface AccountNested {
  readonly owner: Named | undefined
  readonly clients: readonly Named[]
  readonly images: readonly Named[]
  readonly users: readonly Named[]
  readonly zones: readonly Named[]
  readonly servers: readonly Server[]
  readonly volumes: readonly Named[]
}

/** MiB and counts; a limit is undefined where there is none. */
export interface AccountUse {
  readonly servers: { readonly used: number }
  readonly ram: { readonly used: number; readonly limit: number | undefined }
  readonly disk: { readonly used: number; readonly limit: number | undefined }
}

export const printAccountReference = (account: Account, base: string): AccountReferenceJson => ({
  id: account.id,
  resource_type: 'account',
  url: urlOf(base, 'accounts', account.id),
  name: account.name,
  status: account.status,
})

/**
 * Prints an account with every key that clients know; what this library has no notion of is null, 0 or empty.
 * Limits are 0 rather than null, because tables subtract them.
 */
export function printAccount(
  account: Account,
  { servers, ram, disk }: AccountUse,
  base: string,
  nestedView?: AccountNested,
) {
  return {
    ...printAccountReference(account, base),
    ...RETIRED,
    created_at: printTime(account.createdAt),
    servers_used: servers.used,
    ram_limit: ram.limit ?? 0,
    ram_used: ram.used,
    block_storage_limit: disk.limit ?? 0,
    block_storage_used: disk.used,
    ...NOTHING,
    ...(nestedView ? printNested(nestedView, base) : {}),
  }
}

const RETIRED = {
  address_1: null,
  address_2: null,
  city: null,
  county: null,
  postcode: null,
  country_code: null,
  country_name: null,
  vat_registration_number: null,
  telephone_number: null,
  telephone_verified: false,
  verified_telephone: null,
  verified_at: null,
  verified_ip: null,
  valid_credit_card: false,
  library_ftp_host: null,
  library_ftp_user: null,
  library_ftp_password: null,
} as const

const NOTHING = {
  cloud_ips_limit: 0,
  cloud_ips_used: 0,
  load_balancers_limit: 0,
  load_balancers_used: 0,
  dbs_instances_used: 0,
  dbs_ram_limit: 0,
  dbs_ram_used: 0,
} as const

function printNested(view: AccountNested, base: string) {
  const print = (items: readonly Named[], type: string, collection: string) =>
    items.map(({ id, name }) => ({ id, resource_type: type, url: urlOf(base, collection, id), name }))
  return {
    ...(view.owner ? { owner: print([view.owner], 'user', 'users')[0] } : {}),
    clients: print(view.clients, 'api_client', 'api_clients'),
    images: print(view.images, 'image', 'images'),
    users: print(view.users, 'user', 'users'),
    zones: print(view.zones, 'zone', 'zones'),
    servers: view.servers.map((server) => printNestedServer(server, base)),
    load_balancers: [],
    database_servers: [],
    database_snapshots: [],
    cloud_ips: [],
    server_groups: [],
    firewall_policies: [],
    volumes: print(view.volumes, 'volume', 'volumes'),
  }
}
