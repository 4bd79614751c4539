import { type Static, Type } from 'typebox'

export const TokenSchema = Type.Object(
  {
    access_token: Type.String({ description: '40 hex digits' }),
    token_type: Type.Literal('Bearer'),
    refresh_token: Type.Optional(Type.String({ description: 'not for client_credentials' })),
    scope: Type.String({ description: 'separated by a comma and a space' }),
    expires_in: Type.Integer({ description: 'seconds' }),
  },
  { $id: 'Token' },
)
export type TokenJson = Static<typeof TokenSchema>

/** Documents the request; the endpoint answers a wrong one in OAuth's own words, so nothing validates by it. */
export const TokenRequestSchema = Type.Object(
  {
    grant_type: Type.String({ description: 'client_credentials, password or refresh_token' }),
    client_id: Type.Optional(Type.String({ description: 'where HTTP Basic is not used' })),
    client_secret: Type.Optional(Type.String()),
    username: Type.Optional(Type.String({ description: 'email address or `usr-` id' })),
    password: Type.Optional(Type.String()),
    refresh_token: Type.Optional(Type.String()),
    scope: Type.Optional(Type.String({ description: 'infrastructure, orbit; both by default' })),
  },
  { $id: 'TokenRequest' },
)
