import { HttpProblem } from './problems.ts'

/** As far as it is needed here, what Ajv says about one rule that was broken. */
interface Finding {
  readonly instancePath: string
  readonly keyword: string
  readonly params: Readonly<Record<string, unknown>>
  readonly message?: string
  readonly parentSchema?: Readonly<Record<string, unknown>>
}

/** Settings for the validator: nothing is changed, cut or guessed, and every broken rule is reported. */
export const VALIDATOR_OPTIONS = {
  customOptions: {
    coerceTypes: false,
    removeAdditional: false,
    useDefaults: false,
    allErrors: true,
    verbose: true,
    keywords: ['x-rule'],
    // A field that may be null is written as a list of types.
    allowUnionTypes: true,
  },
}

/** Turns broken rules into sentences that name field and rule. */
export function validationProblem(findings: readonly Finding[], part: string): HttpProblem {
  const errors = new Set<string>()
  for (const finding of findings) {
    if (errors.size < SENTENCES_MAX) errors.add(sentenceOf(finding, part))
  }
  return new HttpProblem(422, 'unprocessable_entity', [...errors])
}

/** An answer is no place for all that somebody made up. */
const SENTENCES_MAX = 20
const NAME_MAX = 100

const cut = (name: unknown): string => {
  const text = String(name)
  return text.length > NAME_MAX ? `${text.slice(0, NAME_MAX)}…` : text
}

function sentenceOf(finding: Finding, part: string): string {
  const path = cut(finding.instancePath.slice(1).replaceAll('/', '.'))
  const field = path || (part === 'body' ? 'the body' : part)
  const { params } = finding
  switch (finding.keyword) {
    case 'required':
      return `${path ? `${path}.` : ''}${params.missingProperty} is required`
    case 'additionalProperties':
      return `${path ? `${path}.` : ''}${cut(params.additionalProperty)} is not a field that can be set here`
    case 'type':
      return `${field} must be ${typeNames(params.type)}`
    case 'enum':
      return `${field} must be one of ${listOf(params.allowedValues)}`
    case 'pattern':
      return `${field} ${finding.parentSchema?.['x-rule'] ?? 'has the wrong form'}`
    case 'maxLength':
      return `${field} must have at most ${params.limit} characters`
    case 'minLength':
      return `${field} must have at least ${params.limit} characters`
    case 'maxItems':
      return `${field} must have at most ${params.limit} ${params.limit === 1 ? 'entry' : 'entries'}`
    default:
      return `${field} ${finding.message ?? 'is not valid'}`
  }
}

const listOf = (values: unknown): string => (Array.isArray(values) ? values.join(', ') : String(values))

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'a string',
  integer: 'an integer',
  number: 'a number',
  boolean: 'true or false',
  object: 'a JSON object',
  array: 'a list',
  null: 'null',
}

const typeNames = (types: unknown): string =>
  (Array.isArray(types) ? types : String(types).split(','))
    .map((type) => TYPE_NAMES[String(type)] ?? String(type))
    .join(' or ')
