import { type Static, type TSchema, Type } from 'typebox'

/** A schema by its name: it is validated in place, and stands once in the OpenAPI document. */
export function named<T extends TSchema & { $id?: string }>(schema: T) {
  if (schema.$id === undefined) throw new Error('only a schema with an $id can be named')
  return Type.Unsafe<Static<T>>(Type.Ref(schema.$id))
}

export const listOf = <T extends TSchema & { $id?: string }>(schema: T) =>
  Type.Array(named(schema), { description: 'All there are' })

interface Docs {
  readonly tag: string
  /** Also the name of the function in generated clients. */
  readonly id: string
  readonly summary: string
  /** The answers of success by status; refusals are the same everywhere. */
  readonly answers: Readonly<Record<number, TSchema>>
  readonly query?: Readonly<Record<string, TSchema>>
}

const ACCOUNT_QUERY = {
  account_id: Type.Optional(
    Type.String({ description: 'the account to act on; a user may have several, an API client has one' }),
  ),
}

const PROBLEMS = {
  '4xx': Type.Ref('Problem'),
  '5xx': Type.Ref('Problem'),
}

/** What the OpenAPI document says of a route under `/1.0`. Queries are read and checked by `query.ts`. */
export const docs = ({ tag, id, summary, answers, query }: Docs) => ({
  tags: [tag],
  operationId: id,
  summary,
  response: { ...answers, 401: Type.Ref('OAuthProblem'), ...PROBLEMS },
  querystring: Type.Object({ ...ACCOUNT_QUERY, ...query }),
  security: [{ oauth: [] }],
})
