import type { Content, Part } from '#base/content.ts'
import type { Ledger, Promised } from '#base/ledger.ts'
import type { ImportLimits } from '#base/limits.ts'
import type { Shares } from '#base/shares.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { JobLimits, JobLog, JobQueue } from '#control/jobs/queue.ts'
import type { ContentStore } from '#data/content/content.ts'
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
  /**
   * What a URL opens that is an address of our own Orbit.
   * @throws invalid, "http_url …", where it opens nothing
   */
  readonly findObject: FindObject
  /** One disk of several contents without moving data; undefined where they do not fit together. */
  readonly joinParts: (parts: readonly Part[]) => Promise<{ readonly manifest: string } | undefined>
  /** Where the bytes of uploads go; collection leaves alone what one writes until it is disposed of. */
  readonly openEditor: ContentStore['openEditor']
  readonly limits: ImportLimits
  /** Address ranges, CIDR, that sources may lie in although they are private. */
  readonly allowSource: readonly string[]
  readonly registrations: JobLimits
  /** Which jobs this process does; all of them where it is left out. */
  readonly works?: { readonly registrations: boolean; readonly snapshots: boolean }
  /** How many uploads an account may have that are no image yet. */
  readonly uploadsPerAccount: number
  /** Bytes of image data, uploads and objects that an account may have; undefined for no bound. */
  readonly quota: number | undefined
  /** Bytes of accounts that work under way is going to add; one with Orbit, by `promisedKey`. */
  readonly promised: Ledger
  /** Places for uploads under way, which hold memory at their clients' pace; one with Orbit. */
  readonly seats: Shares
  /** Where the version before gathered uploads. */
  readonly uploadFolder: string
  /** Space of the data folder: asked before bytes are written, and given to what is announced. Both throw NoRoom. */
  readonly reserve: { demand(bytes: number): void; promise(bytes: number): Promised }
  /** Told when a registration or snapshot has ended: the code where it failed. For whoever counts. */
  readonly onEnded?: ((failure: string | undefined) => void) | undefined
  /** Told when a job has ended that read a server's volume. */
  readonly onVolumeRead?: (serverId: string) => void
  /** The store's. */
  readonly generations: { generation(): Promise<number>; nextGeneration(): Promise<number> }
  /** For tests: how a collection waits for signs of life. */
  readonly wait?: (ms: number) => Promise<unknown>
  /** Names this process, as for the jobs. */
  readonly holder: string
  readonly now: () => number
  readonly log: JobLog
}

/** Who asks: the host that the request was sent to, and the address that it came from. */
export interface Asker {
  readonly host: string
  readonly ip: string
}

/** An object of our own, kept from collection until disposed of. */
export interface FoundObject extends AsyncDisposable {
  readonly parts: readonly WholePart[]
  /** As in a header, with its quotes. */
  readonly etag: string
  readonly lastModified: string
}

export type WholePart = Extract<Part, { content: Content }>

/** Undefined where the URL is none of ours. */
export type FindObject = (url: string, asker: Asker | undefined) => Promise<FoundObject | undefined>

/** What all bytes of an account count against in the ledger. */
export const promisedKey = (accountId: string): string => `account ${accountId}`

/** Kinds of jobs. */
export const REGISTRATION = 'registration'
/** A registration of a server's disk: with places of its own, as its server's layers stay frozen until it ends. */
export const SNAPSHOT = 'snapshot'
/** Both make images. */
export const MAKING = [REGISTRATION, SNAPSHOT] as const
export const REMOVAL = 'removal'

/** What a registration job needs to know; the URL stands here with its secrets, and goes with the job. */
export type RegistrationPayload =
  | { readonly source: 'http'; readonly url: string; readonly checksum?: string | undefined }
  | OrbitPayload
  | UploadPayload
  | VolumePayload

/** An object as it was when it was registered: collection leaves its manifests alone as long as the job is there. */
export interface OrbitPayload {
  readonly source: 'orbit'
  /** Without its signature. */
  readonly url: string
  readonly parts: readonly StoredPart[]
  readonly etag: string
  readonly lastModified: string
  readonly checksum?: string | undefined
}

/** A content as JSON can hold it; `inline` is in Base64. */
export type StoredContent = Extract<Content, { kind: 'manifest' }> | { readonly inline: string }

export interface StoredPart {
  readonly content: StoredContent
  readonly offset: number
  readonly length: number
}

/** A snapshot: as long as the job is there, collection leaves the manifest alone, and the server folder and layers. */
export interface VolumePayload {
  readonly source: 'volume'
  readonly serverId: string
  readonly size: number
  /** Undefined where the base is to be read instead. */
  readonly manifest?: string
  readonly folder: string
  readonly baseFile: string
  readonly layers: readonly string[]
  readonly dataLimit: number
  readonly checksum?: undefined
}

export interface UploadPayload {
  readonly source: 'upload'
  readonly complete: boolean
  readonly checksum?: string | undefined
  /** Bytes in all, once the client has said. */
  readonly total?: number
  /** What has come, on stable storage: collection leaves its manifest alone as long as the job is there. */
  readonly content?: StoredContent
}
