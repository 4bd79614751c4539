import { AsyncLocalStorage } from 'node:async_hooks'

/** What stands on every line that is logged on behalf of one request or job. */
export type LogFields = Readonly<Record<string, string | number>>

const NONE: LogFields = {}
const present = new AsyncLocalStorage<LogFields>()

/** Does some work, all of whose lines in the log have these fields, and none that held outside. */
export const withLogFields = <T>(fields: LogFields, work: () => T): T => present.run(fields, work)

/** Those of the work that goes on. */
export const logFields = (): LogFields => present.getStore() ?? NONE
