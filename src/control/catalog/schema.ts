import type { Generated } from 'kysely'
import type { DamagedFileRow, DamageHurtRow } from './schema-damage.ts'
import type { ImageNameRow } from './schema-image-names.ts'
import type { ContainerRow, ObjectBytesRow, ObjectRow, UploadGuardRow } from './schema-orbit.ts'
import type { ServerRow, VolumeRow } from './schema-servers.ts'

/**
 * The tables, as queries see them. Times are milliseconds since 1970, sizes bytes, flags 0 or 1, and what has no
 * columns of its own is JSON in text: types that SQLite and PostgreSQL both have (docs/design.md "Catalog").
 */
export interface Schema {
  accounts: AccountRow
  users: UserRow
  memberships: MembershipRow
  api_clients: ApiClientRow
  applications: ApplicationRow
  tokens: TokenRow
  images: ImageRow
  image_names: ImageNameRow
  jobs: JobRow
  events: EventRow
  reader_pins: PinRow
  server_types: ServerTypeRow
  zones: ZoneRow
  ssh_keys: SshKeyRow
  settings: SettingRow
  counters: CounterRow
  containers: ContainerRow
  objects: ObjectRow
  object_bytes: ObjectBytesRow
  upload_guards: UploadGuardRow
  servers: ServerRow
  volumes: VolumeRow
  damaged_files: DamagedFileRow
  damage_hurts: DamageHurtRow
  leases: LeaseRow
}

export interface AccountRow {
  id: string
  name: string
  status: string
  created_at: number
  /** What its Orbit holds: right at the end of every transaction. */
  container_count: Generated<number>
  object_count: Generated<number>
  bytes_used: Generated<number>
  /** JSON, as in schema-orbit.ts. */
  metadata: Generated<string>
  /** Whether its images are shown as a container. */
  images_container: Generated<number>
  /** A count, and MiB; null for what the settings say, -1 for no limit. */
  servers_limit: Generated<number | null>
  ram_limit: Generated<number | null>
  disk_limit: Generated<number | null>
}

export interface UserRow {
  id: string
  name: string
  /** Lower case. */
  email: string
  ssh_key: string | null
  password: string
  created_at: number
}

export interface MembershipRow {
  user_id: string
  account_id: string
  /** 0 for the account acted on where a request names none. */
  position: number
}

export interface ApiClientRow {
  id: string
  account_id: string
  name: string | null
  description: string | null
  permissions: string
  /** SHA-256, 64 hex digits: secrets are random, so no slow hash is needed. */
  secret_sha256: string
  created_at: number
  revoked_at: number | null
}

/** OAuth applications, by which users log in. */
export interface ApplicationRow {
  id: string
  name: string
  secret_sha256: string
}

export interface TokenRow {
  sha256: string
  kind: string
  client_id: string | null
  application_id: string | null
  user_id: string | null
  /** Separated by one space. */
  scopes: string
  permissions: string
  account_id: string | null
  expires_at: number
}

export interface ImageRow {
  id: string
  account_id: string
  name: string
  arch: string
  status: string
  description: string | null
  username: string | null
  source_type: string
  source_trigger: string
  source: string | null
  min_ram: number | null
  public: number
  official: number
  compatibility_mode: number
  locked: number
  licence_name: string | null
  ancestor_id: string | null
  virtual_size: number
  data_size: number
  manifest: string | null
  provenance: string
  progress: string | null
  failure: string | null
  /** Since when some of its stored bytes are known to be damaged or missing. */
  damaged_at: number | null
  created_at: number
  updated_at: number
}

export interface JobRow {
  id: string
  kind: string
  /** The id of what the job works on; one job of a kind for each. */
  subject: string
  account_id: string
  payload: string
  /** When it was made, or put off last. */
  created_at: number
  /** Not before this time. */
  run_at: number
  /** Rises with each claim: whoever holds an older number has lost the job. */
  attempt: number
  /** Attempts that ended in an error worth another try. */
  failures: number
  generation: number | null
  lease_owner: string | null
  lease_until: number | null
  last_error: string | null
}

export interface EventRow {
  sequence: number
  id: string
  account_id: string
  resource_id: string
  action: string
  message: string
  client_id: string | null
  user_id: string | null
  created_at: number
}

export interface PinRow {
  manifest: string
  holder: string
  expires_at: number
}

export interface ServerTypeRow {
  id: string
  name: string
  handle: string
  status: string
  cores: number
  ram: number
  disk_size: number
  storage_type: string
}

export interface ZoneRow {
  id: string
  handle: string
}

export interface SshKeyRow {
  id: string
  /** A user's or an API client's id. */
  owner_id: string
  type: string
  /** Base64. */
  blob: string
  fingerprint: string
  name: string | null
  created_at: number
}

export interface SettingRow {
  name: string
  value: string
}

export interface CounterRow {
  name: string
  value: number
}

/** What one process at a time does for all of them. */
export interface LeaseRow {
  name: string
  holder: string
  expires_at: number
}
