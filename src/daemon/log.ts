import { destination, type Logger, pino } from 'pino'
import { logFields } from '#base/log-context.ts'

const SECRETS = ['authorization', 'password', 'secret', 'access_token', 'refresh_token', 'client_secret']

/**
 * The log: JSON lines on stderr, so that stdout stays for people. Secrets never reach it. Each line has the fields of
 * the request or job on whose behalf it is.
 */
export function createLog(level: string): Logger {
  const paths = SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`])
  const log: Logger = pino(
    {
      ...{ level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
      redact: { paths, censor: '[secret]' },
      // A child, as each request of the API has one, has its own fields, and a name must not stand on a line twice.
      mixin: (_line, _level, logger) => (logger === log ? { ...logFields() } : {}),
    },
    destination({ dest: 2, sync: true }),
  )
  return log
}
