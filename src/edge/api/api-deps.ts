import type { Auth } from '#control/auth/auth.ts'
import type { Library } from '#control/library/library.ts'
import type { Servers } from '#control/servers/servers.ts'
import type { Form } from '#data/form/form.ts'
import type { ImageForm } from '#schema/image.ts'

/** What the API is a face of. */
export interface ApiDeps {
  /** Of the program, for people. */
  readonly version: string
  readonly auth: Auth
  readonly library: Library
  readonly servers: Servers
  /** Whether servers run here; else nothing is added under `/1.0/servers`. True where it is left out. */
  readonly runsServers?: boolean
  /** Where forwarded SSH ports of servers listen: an IP address. */
  readonly sshAddress: string
  /** Opens the bytes of a manifest (64 hex digits) in one of their forms. */
  readonly openForm: (manifest: string, form: ImageForm) => Promise<Form>
  /** Scheme and host that addresses in answers begin with; by default those that the client asked for. */
  readonly publicUrl?: string
  /** Ends live streams when the daemon stops. */
  readonly stopping: AbortSignal
  /** How often a live stream shows that it lives. */
  readonly heartbeatMs: number
}
