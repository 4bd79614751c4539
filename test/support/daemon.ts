import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { forgetLibrary, libraryAt } from './library-place.ts'
import { endMachines } from './machines.ts'

const root = join(import.meta.dirname, '..', '..')

export interface Daemon extends AsyncDisposable {
  readonly url: string
  readonly data: string
  readonly token: string
  /** The CLI configuration that the daemon wrote. */
  readonly config: string
  /** The file of its settings, there where some were given. */
  readonly settings: string
  readonly process: ChildProcess
  /** What it printed so far, for messages of tests that fail. */
  output(): string
  api<T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }>
}

export interface DaemonOptions {
  /** A data folder to go on with; it is then not removed at the end. */
  readonly data?: string
  readonly arguments?: readonly string[]
  /** By their names as in the guide: `servers.fill_rate`. */
  readonly settings?: Readonly<Record<string, string>>
  /** Besides this process's own. */
  readonly environment?: Readonly<Record<string, string>>
}

/**
 * Starts the real daemon on a free port with loopback sources allowed, and logs in. Servers that still run at the end
 * are ended with the data folder; with one to go on with, they run on, as they do without a test.
 */
export async function startDaemon(options: DaemonOptions = {}): Promise<Daemon> {
  const data = options.data ?? (await mkdtemp(join(tmpdir(), 'image-library-')))
  const settings = `${data}.settings`
  if (options.settings) await writeFile(settings, printSettings(options.settings))
  const child = spawn(
    join(root, 'bin/image-library'),
    [
      'serve',
      ...(await libraryAt(data)),
      '--http',
      '127.0.0.1:0',
      '--allow-source',
      '127.0.0.0/8',
      '--sftp',
      'none',
      ...(options.settings ? ['--config', settings] : []),
      ...(options.arguments ?? []),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...options.environment } },
  )
  let output = ''
  child.stdout.on('data', (chunk) => (output += chunk))
  child.stderr.on('data', (chunk) => (output += chunk))
  const url = await listening(child, () => output)
  const config = join(data, 'brightbox.ini')
  const token = await login(url, await readFile(config, 'utf8'))
  return {
    url,
    data,
    token,
    config,
    settings,
    process: child,
    output: () => output,
    async api(method, path, body) {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      return { status: response.status, body: (await response.json()) as never }
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM')
        await once(child, 'exit')
      }
      await rm(settings, { force: true })
      if (options.data) return
      await endMachines(data)
      await rm(data, { recursive: true, force: true })
      await forgetLibrary(data)
    },
  }
}

function printSettings(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([key, value]) => `[${key.split('.')[0]}]\n${key.split('.')[1]} = ${value}\n`)
    .join('')
}

/** Waits for the line that says where it listens. */
function listening(child: ChildProcess, output: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    const look = () => {
      const url = /http:\/\/127\.0\.0\.1:[1-9]\d*/.exec(output())?.[0]
      if (!url) return
      child.stdout?.off('data', look)
      resolve(url)
    }
    child.stdout?.on('data', look)
    child.once('exit', (code) => reject(new Error(`the daemon ended with code ${code}:\n${output()}`)))
  })
}

async function login(url: string, ini: string): Promise<string> {
  const client = /client_id\s*=\s*(\S+)/.exec(ini)?.[1]
  const secret = /secret\s*=\s*(\S+)/.exec(ini)?.[1]
  const response = await fetch(`${url}/token`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${client}:${secret}`).toString('base64')}`,
      'content-type': 'application/json',
    },
    body: '{"grant_type":"client_credentials"}',
  })
  return ((await response.json()) as { access_token: string }).access_token
}
