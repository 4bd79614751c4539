import type { Tables } from '#control/catalog/catalog.ts'
import type { Actor, Event } from '#model/event.ts'
import type { Image } from '#model/image.ts'
import type { ServerType } from '#model/server-type.ts'
import type { Session } from '#model/session.ts'
import type { ShownImage } from '#model/shown-image.ts'
import type { Zone } from '#model/zone.ts'
import type { Asker } from './deps.ts'

/** Attributes as a client sends them: checked here, so that every edge gives the same answers. */
export interface RegisterAttributes {
  /** Exactly one of `httpUrl` and `upload`. */
  readonly httpUrl?: string | null
  /** The bytes come through `uploads`. */
  readonly upload?: boolean
  readonly name?: string | null
  readonly arch: string
  readonly description?: string | null
  readonly username?: string | null
  /** MiB; 0 is taken for "not given", as the official CLI sends it. */
  readonly minRam?: number | null
  readonly public?: boolean
  readonly compatibilityMode?: boolean
  /** `sha256:` and 64 hex digits of the bytes as received. */
  readonly checksum?: string | null
}

export interface UpdateAttributes {
  readonly name?: string | null
  readonly username?: string | null
  readonly description?: string | null
  readonly arch?: string
  readonly minRam?: number | null
  readonly public?: boolean
  readonly compatibilityMode?: boolean
  /** Only `available` and `deprecated`. */
  readonly status?: string
}

export interface ImagePage {
  /** 1 to 1000. */
  readonly limit?: number
  /** The id of the last image of the page before. */
  readonly after?: string
  /** In any case. */
  readonly name?: string
}

/** How far an upload is; times in milliseconds since 1970, sizes in bytes. */
export interface Upload {
  readonly received: number
  readonly limit: number
  readonly expiresAt: number
}

/** What came of receiving a part. */
export interface Received extends Upload {
  /** All bytes that were announced are there, and the registration starts. */
  readonly isComplete: boolean
}

/**
 * The images of all accounts, as a session may see and change them.
 * All functions that take an id throw `not_found` where the session may not see that image, `denied` where it sees it
 * but may not change it, `invalid` with the field's name first ("arch must be …"), `conflict` where the state forbids
 * it.
 */
export interface Library extends AsyncDisposable {
  /**
   * Makes an image in status `creating`, and the job that fills it. A URL of our own Orbit is read directly, as the
   * object is at this moment; one that opens nothing is refused at once.
   */
  register(session: Session, attributes: RegisterAttributes, asker?: Asker): Promise<ShownImage>
  /**
   * The account's own images and everybody's public ones, oldest first, in one query; or those of them that have a word
   * which begins with `name`, in the order of what begins so.
   */
  list(session: Session, page?: ImagePage): Promise<ShownImage[]>
  show(session: Session, id: string): Promise<ShownImage>
  update(session: Session, id: string, attributes: UpdateAttributes): Promise<ShownImage>
  /** Works in every phase, idempotent; a registration under way is cancelled. @throws conflict where locked */
  destroy(session: Session, id: string): Promise<ShownImage>
  lock(session: Session, id: string): Promise<ShownImage>
  unlock(session: Session, id: string): Promise<ShownImage>
  /**
   * The image whose bytes are to be read, with its manifest's digest.
   * @throws conflict where there are no bytes yet or no more
   */
  use(session: Session, id: string): Promise<ShownImage & { readonly manifest: string }>

  /** Oldest first; of one image (also a deleted one of the account's own) or all of the account's own, at most 1000. */
  events(
    session: Session,
    id?: string,
    page?: { readonly after?: number; readonly limit?: number },
  ): Promise<Event[]>
  /**
   * Events with a sequence number above `after`, first those already there, then each as it happens, none lost and
   * none twice; ends when the signal aborts.
   */
  watch(session: Session, id: string | undefined, after: number, signal: AbortSignal): AsyncGenerator<Event>

  readonly uploads: {
    show(session: Session, id: string): Promise<Upload>
    /**
     * Appends bytes; `offset` must be what was received so far, so that a broken upload can be taken up again. With the
     * last of `total` bytes the upload is finished.
     * @throws conflict where the offset is another or the upload is finished, too_large, denied where the quota would
     * be exceeded
     */
    receive(
      session: Session,
      id: string,
      offset: number,
      bytes: AsyncIterable<Uint8Array>,
      /** `total`: bytes of the whole upload, where the client says. */
      options: { readonly signal: AbortSignal; readonly total?: number | undefined },
    ): Promise<Received>
    /** Says that all bytes are there, where nobody said how many there would be; registration starts. */
    finish(session: Session, id: string): Promise<ShownImage>
  }

  /** For the servers, which have checked who asks. */
  readonly snapshots: {
    /** Makes an image in status `creating` and the job that reads the volume, in the transaction of `tables`. */
    register(tables: Tables, snapshot: SnapshotOf): Promise<Image>
    /** Layers, by name, that jobs of a server's snapshots still read, or will. */
    frozenLayers(tables: Tables, serverId: string): Promise<ReadonlySet<string>>
    /** To be called after the transaction of `register`. */
    wake(): void
  }

  /** What servers can be built as and where; smallest first. */
  serverTypes(session: Session): Promise<ServerType[]>
  zones(session: Session): Promise<Zone[]>

  /** For whoever runs the library; no session stands behind these. */
  readonly operator: {
    setOfficial(id: string, official: boolean): Promise<Image>
    /** Everything that must survive a collection, at this moment. */
    roots(): Promise<Roots>
    /** Bytes of an account's images and of uploads that become images. */
    bytesOf(tables: Tables, accountId: string): Promise<number>
    /** Smallest first. */
    listServerTypes(): Promise<ServerType[]>
    /** @throws invalid; conflict where the handle is taken */
    addServerType(attributes: ServerTypeAttributes): Promise<ServerType>
    /** Changes no server. */
    updateServerType(idOrHandle: string, attributes: Partial<ServerTypeAttributes>): Promise<ServerType>
    /** @throws conflict where a server was ever built as it */
    removeServerType(idOrHandle: string): Promise<ServerType>
  }
  /** Keeps manifests' blocks from collection until disposed of; renewed by itself while held. */
  acquirePins(manifests: Iterable<string>): Promise<AsyncDisposable>

  /** Mends what a crash left behind, then begins to work on jobs. */
  start(): Promise<void>
}

/** A size that servers come in, as the operator describes it. */
export interface ServerTypeAttributes {
  readonly handle: string
  /** By default the handle. */
  readonly name?: string
  readonly cores: number
  /** MiB. */
  readonly ram: number
  /** MiB; 0 where each server says how large its disk is to be (network storage). */
  readonly diskSize: number
  /** `experimental`, `available`, or `deprecated`: not for new servers. By default available. */
  readonly status?: string
}

/** A server's disk at one moment, and what the image made of it is to be called. */
export interface SnapshotOf {
  readonly serverId: string
  readonly accountId: string
  readonly actor: Actor
  readonly name: string
  readonly description: string | null
  readonly trigger: 'manual' | 'schedule'
  /** Gives architecture, user name, least memory and mode; its id becomes the ancestor's. */
  readonly ancestor: Image
  readonly compatibilityMode: boolean
  /** Bytes. */
  readonly size: number
  /** Where blocks are that no layer has: the manifest of a volume that does not stand alone, else its base. */
  readonly manifest: string | undefined
  /** The server's folder: an absolute path. */
  readonly folder: string
  readonly baseFile: string
  /** Names in that folder, lowest first. */
  readonly layers: readonly string[]
  /** Bytes. */
  readonly dataLimit: number
}

/** What collection must leave alone. */
export interface Roots {
  /** Blocks put or claimed in this generation of the store or later may belong to what is still coming in. */
  readonly unclaimedSince: number
  /** Read anew with each call, and after `unclaimedSince`; one may come several times. */
  manifests(): AsyncIterable<string>
}
