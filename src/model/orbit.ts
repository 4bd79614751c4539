import type { Session } from './session.ts'

/** Who asks Orbit for something. */
export interface Caller {
  /** None where the request has no token: anybody, as far as access lists let anybody in. */
  readonly session: Session | undefined
  /** What access lists may name the caller by: `acc-xxxxx`, `acc-xxxxx:cli-yyyyy`, `acc-xxxxx:usr-zzzzz`. */
  readonly groups: readonly string[]
  /** Host of the Referer header, for access lists with `.r:`. */
  readonly referrer: string | undefined
  /** Set where a temporary URL opens something. */
  readonly grant: Grant | undefined
}

/** What a temporary URL whose signature was verified lets its holder do. */
export interface Grant {
  readonly accountId: string
  /** Set where the signature is by a container's key, which opens nothing else. */
  readonly container: string | undefined
  readonly access: 'read' | 'write'
}

/** Nobody in particular. */
export const ANYBODY: Caller = { session: undefined, groups: [], referrer: undefined, grant: undefined }

/** Names are UTF-8 without NUL; nothing in them is special, `a//b` and `../x` are ordinary. */
export interface ContainerPath {
  readonly account: string
  readonly container: string
}

export interface ObjectPath extends ContainerPath {
  readonly object: string
}

/** Microseconds since 1970, a multiple of 10; each change has a later one than the change before it. */
export type Timestamp = number

/** Values by name; names in lower case without their prefix (`x-object-meta-`), values one character a byte. */
export type Metadata = Readonly<Record<string, string>>
