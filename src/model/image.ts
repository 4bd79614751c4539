import type { FailureCode } from '#base/failure-codes.ts'

export type ImageStatus =
  | 'creating'
  | 'available'
  | 'deprecated'
  | 'unavailable'
  | 'deleting'
  | 'deleted'
  | 'failed'
export type Arch = 'x86_64' | 'i686'
export type SourceType = 'upload' | 'snapshot'

/** Why a registration failed: a stable code, a sentence, and a next step a person can act on. */
export interface Failure {
  readonly code: FailureCode
  readonly message: string
  readonly hint: string
}

/** Where an image's bytes came from; the receipt of its registration. */
export interface Provenance {
  /** Without user, password or query secrets. */
  readonly url: string | null
  readonly finalUrl: string | null
  readonly formatChain: string | null
  readonly bytes: number | null
  readonly sha256: string | null
  readonly etag: string | null
  readonly lastModified: string | null
  readonly notes: readonly string[]
}

/** As long as nothing was received. */
export const NO_PROVENANCE: Provenance = {
  url: null,
  finalUrl: null,
  formatChain: null,
  bytes: null,
  sha256: null,
  etag: null,
  lastModified: null,
  notes: [],
}

export type RegistrationPhase =
  | 'waiting'
  | 'uploading'
  | 'connecting'
  | 'receiving'
  | 'decoding'
  | 'saving'
  | 'done'

/** How far a registration is. 100 only when the image is available, and by then safe on stable storage. */
export interface Progress {
  readonly phase: RegistrationPhase
  readonly percent: number | null
  readonly bytesDone: number
  readonly bytesTotal: number | null
  /** Bytes per second. */
  readonly rate: number | null
  readonly etaSeconds: number | null
  readonly attempt: number
  /** Why the attempt before failed, one sentence, while the next one is waited for. */
  readonly message: string | null
}

/** A disk one can build servers from. Sizes in bytes, times in milliseconds since 1970. */
export interface Image {
  readonly id: string
  readonly accountId: string
  readonly name: string
  readonly arch: Arch
  readonly status: ImageStatus
  readonly description: string | null
  readonly username: string | null
  readonly sourceType: SourceType
  readonly sourceTrigger: 'manual' | 'schedule'
  readonly source: string | null
  readonly minRam: number | null
  readonly public: boolean
  readonly official: boolean
  readonly compatibilityMode: boolean
  readonly locked: boolean
  readonly licenceName: string | null
  readonly ancestorId: string | null
  readonly virtualSize: number
  readonly dataSize: number
  /** The manifest's digest, 64 hex digits, once available. */
  readonly manifest: string | null
  readonly provenance: Provenance
  readonly progress: Progress | null
  readonly failure: Failure | null
  /** Since when some of its stored bytes are known to be damaged or missing; null where all are well. */
  readonly damagedAt: number | null
  readonly createdAt: number
  readonly updatedAt: number
}

/** What every image is when its registration begins. */
export const NEW_IMAGE = {
  status: 'creating',
  official: false,
  locked: false,
  virtualSize: 0,
  dataSize: 0,
  manifest: null,
  provenance: NO_PROVENANCE,
  failure: null,
  damagedAt: null,
} as const satisfies Partial<Image>
