/**
 * Why a request under `/1.0` was refused: `error_name` of the answer. A name never changes its meaning;
 * docs/guides/status-codes.md has the same words.
 */
export interface AnswerRow {
  readonly statuses: readonly number[]
  readonly when: string
  /** What the client can do. */
  readonly next: string
  /** Whether the same request may succeed later, so that clients may repeat it by themselves. */
  readonly passes: boolean
}

export const ANSWERS = {
  bad_request: {
    statuses: [400],
    when: 'it is no HTTP, the path cannot be decoded, Content-Range is malformed, there is no valid Host',
    next: 'mend the request',
    passes: false,
  },
  malformed_json: { statuses: [400], when: 'the body is not JSON', next: 'mend the request', passes: false },
  forbidden: {
    statuses: [403],
    when: 'visible, but not yours to change; or the API client may only use object storage',
    next: 'use another account (account_id, --account), or an API client with more permissions',
    passes: false,
  },
  missing_resource: {
    statuses: [404],
    when: 'there is none, or your account may not see it: the two look the same',
    next: 'check the id and account_id',
    passes: false,
  },
  method_not_allowed: {
    statuses: [405],
    when: 'there is no such method',
    next: 'use one that Allow names',
    passes: false,
  },
  request_timeout: {
    statuses: [408],
    when: 'the request did not arrive in time',
    next: 'send it again',
    passes: true,
  },
  resource_conflict: {
    statuses: [409],
    when: 'its state forbids it now: locked, still creating, not running, an upload at another offset',
    next: 'change the state first',
    passes: false,
  },
  precondition_failed: {
    statuses: [412],
    when: 'If-Match names another content',
    next: 'read it again',
    passes: false,
  },
  too_large: {
    statuses: [413, 431],
    when: 'the body, the headers, or a limit of the library',
    next: 'send less',
    passes: false,
  },
  uri_too_long: { statuses: [414], when: 'the path is too long', next: 'send less', passes: false },
  unsupported_media_type: {
    statuses: [415],
    when: 'the body is not sent as JSON',
    next: 'set Content-Type',
    passes: false,
  },
  range_not_satisfiable: {
    statuses: [416],
    when: 'every range lies past the end',
    next: 'ask within the size that Content-Range has',
    passes: false,
  },
  expectation_failed: {
    statuses: [417],
    when: 'Expect is something else than 100-continue',
    next: 'leave it out',
    passes: false,
  },
  unprocessable_entity: {
    statuses: [422],
    when: 'a field breaks a rule; all broken rules are listed',
    next: 'mend the fields named',
    passes: false,
  },
  upgrade_required: {
    statuses: [426],
    when: 'the address of a console was opened without a WebSocket client',
    next: 'attach one to it',
    passes: false,
  },
  too_many_requests: {
    statuses: [429],
    when: 'too many wrong passwords, secrets or tokens of consoles, for one user or from one address',
    next: 'wait as Retry-After says',
    passes: false,
  },
  client_gone: {
    statuses: [499],
    when: 'the client went away before the end: nobody reads this, but logs have it',
    next: 'send it again',
    passes: true,
  },
  internal_error: {
    statuses: [500],
    when: 'a bug',
    next: 'tell the operator, whose log has the request id',
    passes: false,
  },
  stored_data_damaged: {
    statuses: [500],
    when: 'stored bytes do not match their digest',
    next: 'tell the operator: image-library check says more',
    passes: false,
  },
  unavailable: {
    statuses: [503],
    when: 'starting, stopping, too busy, the disk is full or does not answer',
    next: 'try again in a moment, as Retry-After says',
    passes: true,
  },
} as const satisfies Readonly<Record<string, AnswerRow>>

export type AnswerName = keyof typeof ANSWERS

/** Those in the order of the table, which is that of their statuses. */
export const ANSWER_NAMES = Object.keys(ANSWERS) as readonly AnswerName[]

/** The name that goes with a status of which nothing else is known. */
export const answerNameOf = (status: number): AnswerName =>
  ANSWER_NAMES.find((name) => (ANSWERS[name].statuses as readonly number[]).includes(status)) ?? 'bad_request'
