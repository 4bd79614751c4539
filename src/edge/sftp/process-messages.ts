import type { StorePlace } from '#data/store/open-store.ts'
import type { RpcAnswer, RpcCall } from './rpc.ts'
import type { SshLimits } from './ssh-server.ts'
import type { Measured } from './traffic.ts'

/** What a process with connections is started with. */
export interface ProcessSetup {
  readonly hostKeys: readonly string[]
  readonly storePlace: StorePlace
  readonly spoolDirectory: string
  /** Bytes of the file system that stay free; undefined for a part of it. */
  readonly reserve: number | undefined
  /** That store and load blocks. */
  readonly threads: number
  readonly limits: SshLimits
}

/** To such a process; a connection's socket comes along with its message. */
export type ToProcess =
  | ({ readonly kind: 'setup' } & ProcessSetup)
  | { readonly kind: 'connection'; readonly id: number; readonly address: string }
  | { readonly kind: 'stop'; readonly graceMs: number }
  | RpcAnswer

/** From such a process. */
export type FromProcess =
  | { readonly kind: 'closed'; readonly id: number }
  /** @param address whose connection it was, where it was one's */
  | {
      readonly kind: 'bug'
      readonly message: string
      readonly stack: string | undefined
      readonly address: string | undefined
    }
  /** About once a second where there is something to say, and before a connection's end is told. */
  | ({ readonly kind: 'measured' } & Measured)
  | RpcCall
