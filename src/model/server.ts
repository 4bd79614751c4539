import type { Session } from './session.ts'

/**
 * `creating` until its QEMU runs; `active` while that does; `inactive` while it does not; `deleting` until nothing of
 * it is left; `failed` where its build could not be done. A destroyed server stays readable as `deleted`.
 */
export type ServerStatus = 'creating' | 'active' | 'inactive' | 'deleting' | 'deleted' | 'failed'

/** What its owner wants it to be; whatever happens to daemon or QEMU, the server is brought there. */
export type ServerGoal = 'running' | 'stopped' | 'deleted'

export type Accelerator = 'kvm' | 'tcg'

/** Why a server is not as it should be: a sentence, and a next step a person can act on. */
export interface ServerTrouble {
  readonly message: string
  readonly hint: string
}

/** A virtual machine of an account. Times in milliseconds since 1970. */
export interface Server {
  readonly id: string
  readonly accountId: string
  /** May be empty. */
  readonly name: string
  readonly status: ServerStatus
  readonly goal: ServerGoal
  readonly locked: boolean
  /** As it was when the server was built: what the operator changes in the table of types changes no server. */
  readonly typeId: string
  readonly cores: number
  /** MiB. */
  readonly ram: number
  readonly zoneId: string
  readonly imageId: string
  /** Emulated devices instead of virtio ones; taken from the image, changed only for the next start. */
  readonly compatibilityMode: boolean
  /** As the client sent it, in Base64 or plain. */
  readonly userData: string | null
  /** Locally administered, six bytes in hex with colons. */
  readonly macAddress: string
  /** Distinct among all servers that are not deleted: gives the server its Unix user, among other things. */
  readonly slot: number
  /** On the host, forwarded to the guest's port 22; null where its network is not the user-mode one. */
  readonly sshPort: number | null
  /** What it runs by, or ran by last. */
  readonly accelerator: Accelerator | null
  /** What stands in its way: of a failed one for ever, of others until it is gone. */
  readonly trouble: ServerTrouble | null
  readonly console: ServerConsole | null
  readonly createdAt: number
  readonly startedAt: number | null
  readonly deletedAt: number | null
  readonly updatedAt: number
}

/** Who may attach to a server's console: whoever has the token, of which only the SHA-256 is kept. */
export interface ServerConsole {
  readonly tokenSha256: string
  readonly expiresAt: number
  /** Who made it; it is void once what let him in changes. */
  readonly madeBy: Pick<Session, 'clientId' | 'userId' | 'standing'>
}
