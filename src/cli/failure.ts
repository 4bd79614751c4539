import type { ErrorOptions } from '#base/errors.ts'

/** What scripts can rely on: 1 is any error, 111 and 222 are those of the official client. */
export const EXIT = { ok: 0, error: 1, unauthenticated: 111, reauthenticated: 222, interrupted: 130 } as const

/** An error that a person at a terminal can act on; it is printed as one line, with a hint below it. */
export class CommandError extends Error {
  readonly hint: string | undefined
  readonly exitCode: number
  /** Some sentences of the official client stand without `ERROR: ` before them. */
  readonly bare: boolean

  constructor(
    message: string,
    options: ErrorOptions & { readonly exitCode?: number; readonly bare?: boolean } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : {})
    this.name = 'CommandError'
    this.hint = options.hint
    this.exitCode = options.exitCode ?? EXIT.error
    this.bare = options.bare ?? false
  }
}

/** The service answered, and the answer was no. */
export class ApiError extends CommandError {
  readonly status: number
  /** What the service said, without what was attempted. */
  readonly reason: string

  constructor(attempt: string, answer: { status: number; reason: string; hint?: string | undefined }) {
    const { status, reason, hint } = answer
    super(`${attempt}: ${reason}`, hint === undefined ? {} : { hint })
    this.name = 'ApiError'
    this.status = status
    this.reason = reason
  }
}

/** Makes text from elsewhere safe for a terminal and for one line: control characters become `\n`, `\x1b` … */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) => {
    const named: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }
    return named[char] ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
  })
}

/** The lines that tell of an error on stderr, and the exit code that goes with it; never a stack. */
export function describeFailure(error: unknown): { readonly text: string; readonly exitCode: number } {
  if (error instanceof CommandError) {
    const line = `${error.bare ? '' : 'ERROR: '}${printable(error.message)}\n`
    const hint = error.hint === undefined ? '' : `HINT: ${printable(error.hint)}\n`
    return { text: line + hint, exitCode: error.exitCode }
  }
  const message = error instanceof Error ? error.message : String(error)
  return {
    text: `ERROR: ${printable(message)}\nHINT: this looks like a fault of brightbox itself; --debug shows more\n`,
    exitCode: EXIT.error,
  }
}
