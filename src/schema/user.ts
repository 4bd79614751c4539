import { type Static, Type } from 'typebox'
import type { Account } from '#model/account.ts'
import type { User } from '#model/user.ts'
import { AccountReferenceSchema, printAccountReference } from './account.ts'
import { identity, line, nullable, nullableString, printTime, time, urlOf } from './fields.ts'

export const UserSchema = Type.Object(
  {
    ...identity('usr', 'user'),
    name: Type.String(),
    email_address: Type.String(),
    email_verified: Type.Boolean(),
    ssh_key: nullableString(),
    messaging_pref: Type.Boolean(),
    created_at: time(),
    '2fa': Type.Object({ enabled: Type.Boolean() }),
    default_account: nullable<Static<typeof AccountReferenceSchema>>(AccountReferenceSchema),
    accounts: Type.Array(AccountReferenceSchema),
  },
  { $id: 'User', description: 'A person' },
)
export type UserJson = Static<typeof UserSchema>

export const UserUpdateSchema = Type.Object(
  {
    name: Type.Optional(line(255, 'shown to people')),
    email_address: Type.Optional(line(255, 'also the login name')),
    ssh_key: Type.Optional(nullableString('a public key in OpenSSH form', 16_384)),
    password: Type.Optional(Type.String({ minLength: 10, maxLength: 1024 })),
    password_confirmation: Type.Optional(Type.String({ maxLength: 1024 })),
  },
  { $id: 'UserUpdate', description: 'Only what is named changes', additionalProperties: false },
)
export type UserUpdateJson = Static<typeof UserUpdateSchema>

export function printUser(user: User, accounts: readonly Account[], base: string): UserJson {
  const references = accounts.map((account) => printAccountReference(account, base))
  return {
    id: user.id,
    resource_type: 'user',
    url: urlOf(base, 'users', user.id),
    name: user.name,
    email_address: user.email,
    email_verified: true,
    ssh_key: user.sshKey,
    messaging_pref: false,
    created_at: printTime(user.createdAt),
    '2fa': { enabled: false },
    default_account: references[0] ?? null,
    accounts: references,
  }
}
