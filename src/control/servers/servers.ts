import type { Duplex } from 'node:stream'
import type { Standee } from '#control/auth/auth.ts'
import type { Account } from '#model/account.ts'
import type { Image } from '#model/image.ts'
import type { Server } from '#model/server.ts'
import type { ServerType } from '#model/server-type.ts'
import type { Session } from '#model/session.ts'
import type { ShownImage } from '#model/shown-image.ts'
import type { Volume } from '#model/volume.ts'
import type { Zone } from '#model/zone.ts'

/** Attributes as a client sends them: checked here, so that every edge gives the same answers. */
export interface BuildAttributes {
  /** An id; exactly one of `image` and `volumes`. */
  readonly image?: string | null
  /** One entry, as network storage types have it: an image, and MiB where the disk is to be larger than the type's. */
  readonly volumes?: readonly { readonly image?: string | null; readonly size?: number | null }[] | null
  /** An id or a handle; `1gb.ssd` where it is missing. */
  readonly serverType?: string | null
  /** An id or a handle; the first one where it is missing. */
  readonly zone?: string | null
  readonly name?: string | null
  /** In Base64 or plain; at most 64 KiB as sent. */
  readonly userData?: string | null
  /** As the image says where it is missing. */
  readonly compatibilityMode?: boolean | null
  /** Refused where they ask for what this library has not: `true`, ids. */
  readonly diskEncrypted?: boolean | null
  readonly cloudIp?: string | boolean | null
  readonly serverGroups?: readonly string[] | null
}

export interface ServerUpdate {
  readonly name?: string | null
  readonly userData?: string | null
  /** From its next start on. */
  readonly compatibilityMode?: boolean
}

/** A server with what belongs to it. */
export interface ShownServer {
  readonly server: Server
  readonly account: Account
  /** Also where it was destroyed since. */
  readonly image: Image
  readonly type: ServerType
  readonly zone: Zone
  readonly volumes: readonly Volume[]
  /** Images made of it, oldest first. */
  readonly snapshots: readonly Image[]
  /** For the one who activated the console, in the answer to that alone. */
  readonly consoleToken: string | undefined
}

export interface ShownVolume {
  readonly volume: Volume
  readonly account: Account
  readonly image: Image
  readonly server: Server
  readonly zone: Zone
}

/** What an account uses of what it may: MiB and counts; a limit is undefined where there is none. */
export interface ServerUse {
  readonly servers: { readonly used: number; readonly limit: number | undefined }
  readonly ram: { readonly used: number; readonly limit: number | undefined }
  readonly disk: { readonly used: number; readonly limit: number | undefined }
}

export type ConsoleKind = 'serial' | 'vnc'

/** What QEMU offers of a running server's console, and what it said before. */
export interface ConsoleStream {
  /** Serial only: the last bytes that the guest wrote, at most 64 KiB. */
  readonly backlog: Uint8Array
  /** Ends when either side goes away. Back-pressure works both ways. */
  readonly stream: Duplex
}

export interface AttachedConsole extends ConsoleStream {
  /** Who made the token: it ends when he is let in no more. */
  readonly holder: Standee
}

/**
 * The servers of all accounts, as a session may see and change them. As in the library, all that take an id throw
 * `not_found` where the session may not see that server, `denied` where it may not change it, `invalid` with the
 * field's name first, `conflict` where the state forbids it. What changes a server returns it as it was at once; what
 * has to happen happens afterwards, also after a crash.
 */
export interface Servers extends AsyncDisposable {
  /**
   * Makes a server in status `creating` and begins to build it.
   * @throws denied where the account's quota would be exceeded; invalid where the image does not fit the type
   */
  create(session: Session, attributes: BuildAttributes): Promise<ShownServer>
  /** Oldest first, with those that were deleted lately. */
  list(session: Session): Promise<ShownServer[]>
  show(session: Session, id: string): Promise<ShownServer>
  update(session: Session, id: string, attributes: ServerUpdate): Promise<ShownServer>
  /** Idempotent. @throws conflict where it is locked */
  destroy(session: Session, id: string): Promise<ShownServer>
  lock(session: Session, id: string): Promise<ShownServer>
  unlock(session: Session, id: string): Promise<ShownServer>
  /** Those that want a running server throw conflict where it is not active, and start where it is not inactive. */
  start(session: Session, id: string): Promise<ShownServer>
  /** Takes its power away. */
  stop(session: Session, id: string): Promise<ShownServer>
  /** Presses its power button; what the guest makes of that is its own business. */
  shutdown(session: Session, id: string): Promise<ShownServer>
  /** Asks the guest to start again. */
  reboot(session: Session, id: string): Promise<ShownServer>
  /** Presses its reset button. */
  reset(session: Session, id: string): Promise<ShownServer>
  /**
   * Freezes its disk as it is at this moment and makes an image of that, in status `creating`.
   * @throws conflict where it has no disk yet or no more; unavailable where QEMU did not do it in time
   */
  snapshot(session: Session, id: string): Promise<{ readonly shown: ShownServer; readonly image: ShownImage }>
  /** Makes a token by which its console can be attached to for 15 minutes; one made before is void. */
  activateConsole(session: Session, id: string): Promise<ShownServer>
  /**
   * Attaches to a console.
   * @throws not_found where token and server do not belong together, in the same time whether the server exists or not,
   * or its maker is let in no more; conflict where it does not run
   */
  attachConsole(id: string, token: string, kind: ConsoleKind): Promise<AttachedConsole>

  listVolumes(session: Session): Promise<ShownVolume[]>
  showVolume(session: Session, id: string): Promise<ShownVolume>
  use(session: Session): Promise<ServerUse>

  /** To be told when a job has ended that read a server's volume. */
  volumeRead(serverId: string): void

  /** Finds what still runs, clears what a crash left behind, and begins to work. */
  begin(): Promise<void>
}
