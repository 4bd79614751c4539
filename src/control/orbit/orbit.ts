import type { Part, WrittenContent } from '#base/content.ts'
import type { Caller, ContainerPath, Grant, Metadata, ObjectPath, Timestamp } from '#model/orbit.ts'

/**
 * Orbit: accounts hold containers, containers hold objects; with Swift's rules, and counts and listings that are right
 * at once. Every edge that speaks of objects (HTTP, SFTP, registration) asks here, and nothing else decides.
 *
 * All functions throw OrbitRefusal. Whether the caller may do it is decided before it is told whether the thing exists.
 */
export interface Orbit {
  readonly accounts: {
    show(caller: Caller, account: string): Promise<AccountInfo>
    update(caller: Caller, account: string, change: MetadataChange): Promise<void>
    /** One page of containers, with the account's counts of the same moment. */
    list(
      caller: Caller,
      account: string,
      query: ListQuery,
    ): Promise<{ info: AccountInfo; rows: ContainerRow[] }>
  }

  readonly containers: {
    /** @returns whether it is new */
    put(caller: Caller, path: ContainerPath, change: ContainerChange): Promise<boolean>
    update(caller: Caller, path: ContainerPath, change: ContainerChange): Promise<void>
    show(caller: Caller, path: ContainerPath): Promise<ContainerInfo>
    list(
      caller: Caller,
      path: ContainerPath,
      query: ListQuery,
    ): Promise<{ info: ContainerInfo; rows: ObjectRow[] }>
    /** @throws conflict where it holds objects */
    remove(caller: Caller, path: ContainerPath): Promise<void>
    /** What concerns everybody, whoever asks: CORS, static web, temporary URLs. Undefined where it does not exist. */
    facts(path: ContainerPath): Promise<{ readonly metadata: Metadata } | undefined>
  }

  readonly objects: {
    /**
     * Decides everything about an upload that can be decided before its bytes come.
     * @throws precondition where `ifNoneMatch` and an object is there; quota, too_large where `length` is too much
     */
    beginPut(caller: Caller, path: ObjectPath, options: PutOptions): Promise<ObjectUpload>
    /** Room for an object whose bytes are written elsewhere (SFTP). @throws what `beginPut` would, of unknown length */
    hold(caller: Caller, path: ObjectPath): Promise<ObjectRoom>
    /**
     * An object whose bytes were written before. What stood there is replaced, versioned where asked for.
     * @param room what was held for it; ended once the object is there
     */
    publish(
      caller: Caller,
      path: ObjectPath,
      attributes: ObjectAttributes,
      written: WrittenContent,
      room?: ObjectRoom,
    ): Promise<ObjectInfo>
    /** A static large object. Segments are verified; @throws invalid with `problems` for those that are not right */
    putStatic(
      caller: Caller,
      path: ObjectPath,
      attributes: ObjectAttributes,
      manifest: StaticManifest,
    ): Promise<ObjectInfo>
    show(caller: Caller, path: ObjectPath, options?: ReadOptions): Promise<ObjectInfo>
    /** The object and where its bytes are, kept from collection until disposed of. */
    locate(caller: Caller, path: ObjectPath, options?: ReadOptions): Promise<LocatedObject>
    /** Replaces what Swift's POST replaces. */
    update(caller: Caller, path: ObjectPath, attributes: ObjectAttributes): Promise<void>
    remove(caller: Caller, path: ObjectPath): Promise<void>
    /** The segments first; one that is gone counts as removed. */
    removeStatic(caller: Caller, path: ObjectPath): Promise<BulkOutcome>
    /** Moves no data where source and target are one object each. */
    copy(caller: Caller, from: ObjectPath, to: ObjectPath, options: CopyOptions): Promise<CopiedObject>
    /** Under its new name at once, in the same place of time for every reader; what stood there is replaced. */
    rename(
      caller: Caller,
      from: ObjectPath,
      to: ObjectPath,
      options: { readonly replace: boolean },
    ): Promise<void>
    /** The stored rows of a static large object, as `?multipart-manifest=get` shows them. @throws invalid for others */
    showStatic(caller: Caller, path: ObjectPath): Promise<{ info: ObjectInfo; segments: StaticSegmentRow[] }>
  }

  readonly tempUrls: {
    /**
     * Verifies a temporary URL.
     * @param request as it came: method, path decoded once ("/v1/acc-x/c/o"), the query's `temp_url_…` values
     * @returns undefined where any of it is not right
     */
    verify(request: TempUrlRequest): Promise<Grant | undefined>
  }

  /** Removes objects whose time has come; lists and counts never show them even before. @returns how many */
  expire(signal: AbortSignal): Promise<number>
}

/** Kinds of refusals; the edges translate them. The message is the text that Swift's clients see, where it has one. */
export type RefusalKind =
  /** Who may not; 401 for anybody, 403 for somebody. */
  | 'denied'
  | 'not_found'
  | 'invalid'
  | 'conflict'
  | 'precondition'
  /** The ETag that was announced is not that of the bytes. */
  | 'mismatch'
  | 'too_large'
  | 'quota'

export class OrbitRefusal extends Error {
  readonly kind: RefusalKind
  /** Of a static large object's segments: path and what is wrong with it. */
  readonly problems: readonly (readonly [path: string, why: string])[]

  constructor(
    kind: RefusalKind,
    message: string,
    { problems = [], cause }: { problems?: OrbitRefusal['problems']; cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? {} : { cause })
    this.name = 'OrbitRefusal'
    this.kind = kind
    this.problems = problems
  }
}

export interface AccountInfo {
  readonly account: string
  readonly containerCount: number
  readonly objectCount: number
  readonly bytesUsed: number
  readonly createdAt: Timestamp
  /** Without the temporary URL keys where the caller is no owner. */
  readonly metadata: Metadata
}

/** What is named is set, null or an empty value removes it, the rest stays. */
export type MetadataChange = Readonly<Record<string, string | null>>

export interface ContainerChange {
  readonly metadata: MetadataChange
  /** Access lists as they came; cleaned and checked here. Empty or null removes; ignored of who is no owner. */
  readonly read?: string | null
  readonly write?: string | null
  /** Where old versions go (Swift's legacy versioning). */
  readonly versions?: { readonly mode: 'stack' | 'history'; readonly container: string } | null
}

export interface ContainerInfo {
  readonly container: string
  readonly objectCount: number
  readonly bytesUsed: number
  readonly createdAt: Timestamp
  /** The last PUT or POST of the container itself. */
  readonly updatedAt: Timestamp
  readonly metadata: Metadata
  /** Undefined where the caller is no owner, or none is set. */
  readonly read: string | undefined
  readonly write: string | undefined
  readonly versions: { readonly mode: 'stack' | 'history'; readonly container: string } | undefined
}

export interface ListQuery {
  /** 0 to 10000. */
  readonly limit: number
  readonly marker?: string
  readonly endMarker?: string
  readonly prefix?: string
  /** One or more characters. */
  readonly delimiter?: string
  /** Of containers only: direct children of this pseudo-directory, no subdirs; wins over prefix and delimiter. */
  readonly path?: string
  readonly reverse?: boolean
}

export type ContainerRow =
  | {
      readonly kind: 'container'
      readonly name: string
      readonly count: number
      readonly bytes: number
      readonly modifiedAt: Timestamp
    }
  | SubdirRow

export type ObjectRow =
  | {
      readonly kind: 'object'
      readonly name: string
      /** MD5 of the bytes; of a static large object that of its manifest. */
      readonly hash: string
      readonly bytes: number
      readonly contentType: string
      readonly modifiedAt: Timestamp
      /** 32 hex digits; only of a static large object. */
      readonly sloEtag: string | undefined
    }
  | SubdirRow

export interface SubdirRow {
  readonly kind: 'subdir'
  /** With the delimiter at its end. */
  readonly name: string
}

export interface ObjectAttributes {
  /** Undefined: guessed from the name on a PUT, left alone on a POST. */
  readonly contentType?: string
  /** `content-encoding`, `content-disposition`, `content-language`, `cache-control`, `expires`, `x-robots-tag`. */
  readonly headers: Metadata
  readonly metadata: Metadata
  /** Seconds since 1970. */
  readonly deleteAt?: number
  /** Value of X-Object-Manifest: container, slash, prefix; percent-encoded as it came. */
  readonly dynamicManifest?: string
}

export interface PutOptions {
  readonly attributes: ObjectAttributes
  /** Bytes, where the client says. */
  readonly length?: number
  /** Refuse where an object is there. */
  readonly ifNoneMatch?: boolean
  readonly signal: AbortSignal
}

/** An upload under way; disposing of it unfinished leaves nothing behind. */
export interface ObjectUpload extends AsyncDisposable {
  /** The chunk may be reused once the promise resolves. @throws too_large, quota */
  write(chunk: Uint8Array): Promise<void>
  /** The object is there, safely, when it resolves. @throws mismatch where `etag` is given and is not the MD5 */
  finish(options?: { readonly etag?: string }): Promise<ObjectInfo>
}

/** What an object that comes in takes of the quotas, until it is there or given up. */
export interface ObjectRoom extends Disposable {
  /** To be asked before the object has so many bytes. @returns how many it may have by now @throws quota */
  extend(size: number, options?: { readonly isAll?: boolean }): Promise<number>
  /** What it was promised so far. */
  readonly mine: { readonly bytes: number; readonly objects: number }
}

export interface ReadOptions {
  /** The manifest object itself instead of what it stands for: `?multipart-manifest=get`. */
  readonly manifest?: boolean
}

export interface ObjectInfo {
  readonly name: string
  /** Bytes of what is read. */
  readonly size: number
  /** 32 hex digits, without quotes. */
  readonly etag: string
  /** Large objects have an ETag in quotes: it is no MD5 of the bytes. */
  readonly large: 'dynamic' | 'static' | undefined
  readonly contentType: string
  readonly headers: Metadata
  readonly metadata: Metadata
  readonly modifiedAt: Timestamp
  readonly deleteAt: number | undefined
  readonly dynamicManifest: string | undefined
  /** MD5 of the stored manifest; only of a static large object. */
  readonly manifestEtag: string | undefined
}

export interface LocatedObject extends AsyncDisposable {
  readonly info: ObjectInfo
  /** Lengths add up to `info.size`. */
  readonly parts: readonly Part[]
}

export interface CopyOptions {
  /** What the request says; overrides the source's by name. */
  readonly attributes: ObjectAttributes
  /** Leave the source's user metadata and headers behind. */
  readonly fresh?: boolean
  /** Copy the manifest itself, not what it stands for. */
  readonly manifest?: boolean
  /** Some of the source only. */
  readonly range?: { readonly offset: number; readonly length: number }
  readonly signal: AbortSignal
}

export interface CopiedObject {
  readonly info: ObjectInfo
  readonly source: ObjectInfo
}

/** The entries of a PUT with `?multipart-manifest=put`, their syntax already checked. */
export interface StaticManifest {
  readonly entries: readonly StaticEntry[]
  /** What the client says the large object's ETag will be. */
  readonly etag?: string
  /** Refuse where an object is there. */
  readonly ifNoneMatch?: boolean
}

export type StaticEntry =
  | {
      readonly kind: 'segment'
      /** As the client wrote it, `/container/object`. */
      readonly path: string
      readonly etag?: string
      readonly size?: number
      /** `a-b`, `a-` or `-n`. */
      readonly range?: string
    }
  | { readonly kind: 'data'; readonly bytes: Uint8Array }

/** A row of a stored manifest. */
export type StaticSegmentRow =
  | {
      readonly kind: 'segment'
      /** `/container/object`. */
      readonly name: string
      readonly bytes: number
      readonly hash: string
      readonly contentType: string
      readonly modifiedAt: Timestamp
      readonly range: string | undefined
      readonly subSlo: boolean
    }
  | { readonly kind: 'data'; readonly bytes: Uint8Array }

export interface BulkOutcome {
  readonly deleted: number
  readonly notFound: number
  /** Path and status line, `/c/o` and `403 Forbidden`. */
  readonly errors: readonly (readonly [path: string, status: string])[]
}

export interface TempUrlRequest {
  readonly method: string
  readonly path: string
  readonly signature: string | undefined
  readonly expires: string | undefined
  readonly prefix: string | undefined
  readonly ipRange: string | undefined
  /** Address of the client. */
  readonly clientIp: string
}
