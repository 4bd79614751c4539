import { type Static, Type } from 'typebox'
import type { Account } from '#model/account.ts'
import type { ApiClient, PermissionsGroup } from '#model/api-client.ts'
import { type AccountReferenceJson, AccountReferenceSchema, printAccountReference } from './account.ts'
import {
  identity,
  nullableLine,
  nullableString,
  nullableTime,
  oneOf,
  printNullableTime,
  urlOf,
} from './fields.ts'

export const PERMISSIONS = ['full', 'storage'] as const satisfies readonly PermissionsGroup[]

export const ApiClientSchema = Type.Object(
  {
    ...identity('cli', 'api_client'),
    name: nullableString(),
    description: nullableString(),
    secret: nullableString('only in the answers to create and reset_secret'),
    permissions_group: oneOf(PERMISSIONS, 'full: everything; storage: object storage only'),
    revoked_at: nullableTime('when it was destroyed; its tokens end with it or expire'),
    account: AccountReferenceSchema,
  },
  { $id: 'ApiClient', description: 'Id and secret that programs authenticate with' },
)
export type ApiClientJson = Static<typeof ApiClientSchema>

const fields = {
  name: Type.Optional(nullableLine(255, 'shown to people')),
  description: Type.Optional(nullableString(undefined, 4096)),
  permissions_group: Type.Optional(oneOf(PERMISSIONS)),
}

export const ApiClientCreateSchema = Type.Object(fields, {
  $id: 'ApiClientCreate',
  description: 'All of it may be left out',
  additionalProperties: false,
})
export type ApiClientCreateJson = Static<typeof ApiClientCreateSchema>

export const ApiClientUpdateSchema = Type.Object(fields, {
  $id: 'ApiClientUpdate',
  description: 'Only what is named changes',
  additionalProperties: false,
})

export function printApiClient(
  client: ApiClient,
  account: Account,
  base: string,
  secret: string | null = null,
): ApiClientJson {
  const reference: AccountReferenceJson = printAccountReference(account, base)
  return {
    id: client.id,
    resource_type: 'api_client',
    url: urlOf(base, 'api_clients', client.id),
    name: client.name,
    description: client.description,
    secret,
    permissions_group: client.permissions,
    revoked_at: printNullableTime(client.revokedAt),
    account: reference,
  }
}
