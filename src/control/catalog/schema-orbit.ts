import type { Generated } from 'kysely'

/** Orbit's tables. Times are microseconds since 1970; header metadata is JSON of values by name. */
export interface ContainerRow {
  id: Generated<number>
  account_id: string
  name: string
  /** Of the objects in it: right at the end of every transaction. */
  object_count: number
  bytes_used: number
  created_at: number
  updated_at: number
  metadata: string
  read_acl: string | null
  write_acl: string | null
  versions_mode: string | null
  versions_container: string | null
}

/** Rows are small and lie in the order of their names; the bytes of small objects stand in `object_bytes`. */
export interface ObjectRow {
  container_id: number
  name: string
  /** Of what is stored under the name: of a static large object, its manifest of segments. */
  size: number
  md5: string
  /** Of all the segments of a static large object. */
  static_size: number | null
  static_etag: string | null
  content_type: string
  headers: string
  metadata: string
  dynamic_manifest: string | null
  /** Seconds since 1970. */
  delete_at: number | null
  modified_at: number
  /** None where there are no bytes, or they are in blocks. */
  bytes_id: number | null
  manifest: string | null
  form: string | null
}

export interface ObjectBytesRow {
  id: Generated<number>
  bytes: Uint8Array
}

/** One process that is writing blocks; milliseconds since 1970. */
export interface UploadGuardRow {
  holder: string
  since: number
  expires_at: number
}
