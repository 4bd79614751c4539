/** A person; may act on the accounts that he is a member of. */
export interface User {
  readonly id: string
  readonly name: string
  readonly email: string
  readonly sshKey: string | null
  readonly createdAt: number
  /** The first is the one acted on where a request names none. */
  readonly accountIds: readonly string[]
}
