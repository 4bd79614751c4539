/** What a program may do: `full` everything, `storage` only Orbit. */
export type PermissionsGroup = 'full' | 'storage'

/** Id and secret that an account's programs authenticate with. The secret itself is never kept. */
export interface ApiClient {
  readonly id: string
  readonly accountId: string
  readonly name: string | null
  readonly description: string | null
  readonly permissions: PermissionsGroup
  readonly createdAt: number
  readonly revokedAt: number | null
}
