export type AccountStatus = 'active' | 'suspended' | 'closed'

/** Owner of images. */
export interface Account {
  readonly id: string
  readonly name: string
  readonly status: AccountStatus
  readonly createdAt: number
}
