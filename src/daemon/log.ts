import { destination, type Logger, pino } from 'pino'

const SECRETS = ['authorization', 'password', 'secret', 'access_token', 'refresh_token', 'client_secret']

/** The log: JSON lines on stderr, so that stdout stays for people. Secrets never reach it. */
export function createLog(level: string): Logger {
  const paths = SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`])
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, redact: { paths, censor: '[secret]' } },
    destination({ dest: 2, sync: true }),
  )
}
