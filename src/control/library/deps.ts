import type { ImportLimits } from '#base/limits.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { JobLimits, JobLog, JobQueue } from '#control/jobs/queue.ts'
import type { Ingest } from '#data/disk/ingest-types.ts'

export interface LibraryOptions {
  readonly catalog: Catalog
  /** The library says in it what registrations and removals do; whoever made it disposes of it, before the catalog. */
  readonly jobs: JobQueue
  readonly ingest: Ingest
  /** @throws invalid, "source URL …" */
  readonly parseSourceUrl: (text: string) => URL
  /** The URL without anything secret. */
  readonly redactUrl: (url: URL) => string
  readonly limits: ImportLimits
  /** Address ranges, CIDR, that sources may lie in although they are private. */
  readonly allowSource: readonly string[]
  readonly registrations: JobLimits
  /** How many uploads an account may have that are no image yet. */
  readonly uploadsPerAccount: number
  /** Bytes of image data and uploads that an account may have; undefined for no bound. */
  readonly quota: number | undefined
  /** A folder of our own for uploads; made where it is missing. */
  readonly uploadFolder: string
  /** Space that uploads leave free: throws unavailable where `bytes` more would not. */
  readonly reserve: { demand(bytes: number): void }
  /** Names this process, as for the jobs. */
  readonly holder: string
  readonly now: () => number
  readonly log: JobLog
}

/** Kinds of jobs. */
export const REGISTRATION = 'registration'
export const REMOVAL = 'removal'

/** What a registration job needs to know; the URL stands here with its secrets, and goes with the job. */
export type RegistrationPayload =
  | { readonly source: 'http'; readonly url: string; readonly checksum?: string | undefined }
  | UploadPayload

export interface UploadPayload {
  readonly source: 'upload'
  readonly complete: boolean
  readonly checksum?: string | undefined
  /** Bytes in all, once the client has said. */
  readonly total?: number
  /** Bytes on stable storage. */
  readonly safe?: number
}
