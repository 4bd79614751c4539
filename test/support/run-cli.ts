import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

export const BRIGHTBOX = join(import.meta.dirname, '..', '..', 'bin', 'brightbox')

export interface CliResult {
  readonly out: string
  readonly err: string
  readonly code: number | null
}

export interface Cli extends AsyncDisposable {
  /** A folder of its own: HOME and working directory. */
  readonly folder: string
  readonly configPath: string
  run(...args: string[]): Promise<CliResult>
  runWith(
    options: { env?: Record<string, string>; stdin?: string; signal?: AbortSignal },
    ...args: string[]
  ): Promise<CliResult>
}

/** The configuration of an API client, with a token from an earlier command. */
export const clientSection = (url: string, extra = ''): string => `[core]
default_client = cli-12345

[cli-12345]
alias = cli-12345
client_id = cli-12345
secret = abcdefghijklmno
api_url = ${url}
auth_url = ${url}
${extra}`

/** Runs the real command line in a folder of its own. Without `token` the first command has to get one. */
export async function openCli(config?: string, token: string | null = 'fresh-token'): Promise<Cli> {
  const folder = await mkdtemp(join(tmpdir(), 'brightbox-'))
  const configPath = join(folder, 'config')
  if (config !== undefined) await writeFile(configPath, config)
  if (config !== undefined && token !== null) await writeFile(join(folder, 'cli-12345.oauth_token'), token)
  const cli: Cli = {
    folder,
    configPath,
    run: (...args) => cli.runWith({}, ...args),
    async runWith({ env = {}, stdin, signal }, ...args) {
      const child = spawn(BRIGHTBOX, args, {
        cwd: folder,
        env: {
          PATH: process.env.PATH ?? '',
          HOME: folder,
          BRIGHTBOX_CONFIG: configPath,
          BRIGHTBOX_RETRY_MS: '10',
          ...env,
        },
        stdio: ['pipe', 'pipe', 'pipe'],
      })
      child.stdin.on('error', () => undefined)
      child.stdin.end(stdin ?? '')
      signal?.addEventListener('abort', () => child.kill('SIGINT'))
      const [out, err, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, 'close'),
      ])
      return { out, err, code }
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
  return cli
}
