/** Who asks: what a valid access token stands for. */
export interface Session {
  /** The account acted on, already checked to be one that the caller may act on. */
  readonly accountId: string
  readonly clientId: string | null
  readonly userId: string | null
  /** `full` may use everything; `storage` only Orbit. */
  readonly permissions: 'full' | 'storage'
  readonly scopes: readonly ('infrastructure' | 'orbit')[]
  /** Changes with what let him in: his password or secret, his rights. Undefined where nobody logged in. */
  readonly standing?: string | undefined
}
