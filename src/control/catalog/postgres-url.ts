export const POSTGRES_URL_RULE =
  'postgres://USER@HOST/DATABASE, without a password: PGPASSWORD or ~/.pgpass may have it'

/** What the driver takes for `verify-full`, and warns of. */
const CAREFUL = /([?&]sslmode=)(?:prefer|require|verify-ca)(?=&|$)/

/**
 * Reads where a database is, as libpq does: `host`, `port`, `sslmode` and the like may be given as parameters, a folder
 * as the host stands for a Unix socket. Every `sslmode` but `disable` and `no-verify` verifies whom it speaks to.
 * @returns undefined where the rule is broken, a password among that: it would be seen by whoever sees the command line
 */
export function parsePostgresUrl(text: string): string | undefined {
  const [, login = '', rest] = /^postgres(?:ql)?:\/\/(?:([^@/?#\s]*)@)?([^\s#]*)$/.exec(text) ?? []
  if (rest === undefined || login.includes(':') || /[?&]password=/.test(rest)) return undefined
  // A host is not needed where it is a parameter.
  if (URL.parse(`postgres://${rest.startsWith('/') ? 'localhost' : ''}${rest}`) === null) return undefined
  return text.replace(CAREFUL, '$1verify-full')
}
