import { Type } from 'typebox'
import { ANSWER_NAMES } from '#base/answer-names.ts'
import { oneOf } from './fields.ts'

/** The body of every refusal under `/1.0`. */
export const ProblemSchema = Type.Object(
  {
    error_name: oneOf(ANSWER_NAMES, 'a stable word, for programs; the guide to status codes explains each'),
    errors: Type.Array(Type.String(), { description: 'sentences, for people' }),
    hint: Type.Optional(Type.String({ description: 'what to do next, one sentence' })),
    request_id: Type.Optional(Type.String({ description: 'finds the request in the log' })),
  },
  { $id: 'Problem', description: 'Why the request was refused' },
)

/** The body of a refusal by the token endpoint, and of every 401 (RFC 6749 §5.2, RFC 6750 §3). */
export const OAuthProblemSchema = Type.Object(
  { error: Type.String(), error_description: Type.String() },
  { $id: 'OAuthProblem', description: 'The credentials or the token are missing or no good' },
)
