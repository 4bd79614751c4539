import type { Caller } from '#model/orbit.ts'
import type { Exchange } from './exchange.ts'

/** What comes beside Swift's core, each called from dispatch.ts. Refusals are thrown as the core throws them. */
export const extras = {
  /** OPTIONS with an Origin, on any address: answers it. */
  preflight: undefined as ((exchange: Exchange) => Promise<void>) | undefined,
  /** Any other method with an Origin and a container: adds a finisher (or none). Called before the caller is known. */
  prepareCors: undefined as ((exchange: Exchange) => Promise<void>) | undefined,
  /**
   * GET and HEAD of a container or what is in it, by nobody in particular or with X-Web-Mode.
   * @returns whether it was answered; else the plain API does
   */
  answerStaticWeb: undefined as ((exchange: Exchange, caller: Caller) => Promise<boolean>) | undefined,
  /** POST or DELETE of an account with ?bulk-delete. */
  bulkDelete: undefined as ((exchange: Exchange, caller: Caller) => Promise<void>) | undefined,
  /** PUT with ?extract-archive; the path may be that of an account, a container or an object (a prefix). */
  uploadArchive: undefined as ((exchange: Exchange, caller: Caller) => Promise<void>) | undefined,
}
