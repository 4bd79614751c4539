import { type Static, Type } from 'typebox'
import { nullableString } from './fields.ts'

/** Characters; no password is longer. What is tried is remembered for a while. */
const LONGEST = 1024

export const TokenSchema = Type.Object(
  {
    access_token: Type.String({ description: '40 hex digits' }),
    token_type: Type.Literal('Bearer'),
    refresh_token: Type.Optional(Type.String({ description: 'not for client_credentials' })),
    scope: Type.String({ description: 'separated by a comma and a space' }),
    expires_in: Type.Integer({ description: 'seconds' }),
  },
  { $id: 'Token', description: 'An access token, for Authorization: Bearer' },
)
export type TokenJson = Static<typeof TokenSchema>

/** Loose on purpose: what is missing or wrong is said in OAuth's own words. */
export const TokenRequestSchema = Type.Object(
  {
    grant_type: Type.Optional(nullableString('client_credentials, password or refresh_token', LONGEST)),
    client_id: Type.Optional(nullableString('where HTTP Basic is not used', LONGEST)),
    client_secret: Type.Optional(nullableString(undefined, LONGEST)),
    username: Type.Optional(nullableString('email address or `usr-` id', LONGEST)),
    password: Type.Optional(nullableString(undefined, LONGEST)),
    refresh_token: Type.Optional(nullableString(undefined, LONGEST)),
    scope: Type.Optional(nullableString('infrastructure, orbit; both by default', LONGEST)),
  },
  { $id: 'TokenRequest' },
)
