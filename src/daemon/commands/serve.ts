import { existsSync } from 'node:fs'
import { iniPath } from '../bootstrap.ts'
import { type Config, type Flags, readConfig } from '../config.ts'
import { createLog } from '../log.ts'
import { type Started, serve } from '../serve.ts'

const EXIT_INTERRUPTED = 130

/** Runs the library until a signal stops it; a second signal does not wait. */
export async function runServe(flags: Flags): Promise<void> {
  const config = readConfig(flags)
  const log = createLog(config.logLevel)
  const stopping = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stopping.signal.aborted) process.exit(EXIT_INTERRUPTED)
      stopping.abort()
    })
  }
  const onStarted = (started: Started) => console.log(printStarted(started, config))
  await serve({ config, log, onStarted, stopping: stopping.signal })
}

/** What a person needs to go on, the secrets of a new folder among it. */
export function printStarted(
  { url, sftp, nbd, metrics, bootstrapped }: Started,
  { data, http, catalog }: Pick<Config, 'data' | 'http' | 'catalog'>,
): string {
  const reached = http.publicUrl === undefined ? '' : `, is reached at ${http.publicUrl}`
  const made = bootstrapped && [
    '',
    'This data folder is new. It begins with (shown this once):',
    `  account     ${bootstrapped.accountId}`,
    `  API client  ${bootstrapped.clientId}   secret ${bootstrapped.secret}`,
    `  user        ${bootstrapped.email}   password ${bootstrapped.password}`,
  ]
  return [
    `The image library listens on ${url}${reached} and keeps its data in ${data}`,
    ...(sftp ? [`SFTP is on ${sftp.url}, host key ${sftp.fingerprint}`] : []),
    ...(nbd === undefined ? [] : [`Images are offered over NBD on ${nbd}`]),
    ...(metrics === undefined ? [] : [`Metrics are on ${metrics}/metrics`]),
    ...(made ?? []),
    '',
    ...(existsSync(iniPath(data)) ? printFirstSteps(iniPath(data)) : printNoConfiguration(data, catalog)),
    '',
  ].join('\n')
}

const printFirstSteps = (ini: string): string[] => [
  `The configuration of the command line is in ${ini}. Try, in another terminal:`,
  `  export BRIGHTBOX_CONFIG=${quote(ini)}`,
  '  bin/brightbox images list',
  '  bin/brightbox image register --wait -a x86_64 -n arch-latest \\',
  '    --url https://geo.mirror.pkgbuild.com/images/latest/Arch-Linux-x86_64-cloudimg.qcow2',
]

/** As where a catalog was restored without it, or another process made it: secrets cannot be read back. */
const printNoConfiguration = (data: string, catalog: Config['catalog']): string[] => [
  'There is no configuration of the command line here. To make an API client and its configuration:',
  // A catalog's URL may have a password in it.
  `  bin/image-library client create ${catalog === undefined ? `--data ${quote(data)}` : '--config FILE'}`,
  '  bin/brightbox config client_add CLIENT SECRET URL',
]

/** For the shell, where a path needs it. */
const quote = (path: string): string =>
  /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
