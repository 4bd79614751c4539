/** A number of what is counted; `default` for what the settings say. */
export type Limit = number | 'none' | 'default'

/** What an account's servers may take together. */
export interface AccountLimits {
  readonly servers: Limit
  /** MiB. */
  readonly ram: Limit
  /** MiB. */
  readonly disk: Limit
}

/** @returns undefined for no bound */
export function boundOf(limit: Limit, byDefault: number | undefined): number | undefined {
  if (limit === 'default') return byDefault
  return limit === 'none' ? undefined : limit
}
