import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Call, callerOf, fetchToken } from './api-server.ts'
import type { Daemon } from './daemon.ts'
import { createDatabase, type TestServer } from './postgres.ts'
import { createS3Place, RADOSGW } from './radosgw.ts'
import type { Tool } from './tools.ts'

/** What it takes to start a library of many processes. */
export const LARGE: readonly Tool[] = ['postgres', ...RADOSGW]

const PROGRAM = join(import.meta.dirname, '..', '..', 'bin', 'image-library')

export interface LargeOptions {
  /** By default one that all tests share. */
  readonly server?: TestServer
  /** Scheme, address and port of what lies before the object store; by default nothing does. */
  readonly endpoint?: (of: string) => Promise<string>
  /** Of all processes, by their names as in the guide. */
  readonly settings?: Readonly<Record<string, string>>
}

/** One process of a library; its token is that of the client that the library began with, where it has the API. */
export interface Member extends Daemon {
  readonly roles: string
  readonly call: Call
  end(signal: NodeJS.Signals): Promise<void>
}

/** A catalog and a store, and processes that share them, each with a data folder of its own. */
export interface LargeLibrary extends AsyncDisposable {
  /** Starts one more process. @param more settings of this one alone */
  start(roles: string, more?: Readonly<Record<string, string>>): Promise<Member>
  /** Runs an operator's command on a machine of its own. @returns what it printed; @throws where it fails */
  command(...words: string[]): Promise<string>
  /** The options that each process has: `--catalog`, `--store`. */
  readonly words: readonly string[]
}

export async function startLargeLibrary(options: LargeOptions = {}): Promise<LargeLibrary> {
  await using opened = new AsyncDisposableStack()
  const database = opened.use(
    await createDatabase({ empty: true, ...(options.server && { server: options.server }) }),
  )
  const { endpoint, bucket, prefix, region, credentials } = await createS3Place()
  const reached = (await options.endpoint?.(endpoint)) ?? endpoint
  const folder = await mkdtemp(join(tmpdir(), 'large-'))
  opened.defer(() => rm(folder, { recursive: true, force: true }))
  const words = [
    ...['--catalog', database.url],
    ...['--store', `s3://${bucket}/${prefix}?endpoint=${reached}&region=${region}`],
  ]
  const environment = {
    ...process.env,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  }
  const settings = { 'sftp.keys': join(folder, 'keys'), ...options.settings }
  const members: Member[] = []
  opened.defer(async () => {
    await Promise.all(members.map((member) => member[Symbol.asyncDispose]()))
  })
  const folders: string[] = []

  async function start(roles: string, more: Readonly<Record<string, string>> = {}): Promise<Member> {
    const data = join(folder, `${folders.length}`)
    folders.push(data)
    const config = `${data}.settings`
    await writeFile(config, printSettings({ ...settings, ...more }))
    const listen = ['--http', '127.0.0.1:0', '--sftp', roles.includes('sftp') ? '127.0.0.1:0' : 'none']
    const all = ['serve', '--data', data, '--config', config, '--roles', roles, ...listen, ...words]
    const child = spawn(PROGRAM, [...all, '--allow-source', '127.0.0.0/8'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment,
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
    const url = await listening(child, () => output)
    // Whoever was first made it.
    const ini = folders.map((folder) => join(folder, 'brightbox.ini')).find((path) => existsSync(path)) ?? ''
    const token = /api|servers/.test(roles) ? await logIn(url, ini) : ''
    const call = callerOf(url, token)
    const member: Member = {
      ...{ url, data, token, roles, call, config: ini, settings: config, process: child },
      output: () => output,
      api: call,
      async end(signal) {
        if (child.exitCode !== null || child.signalCode !== null) return
        child.kill(signal)
        await once(child, 'exit')
      },
      async [Symbol.asyncDispose]() {
        child.kill('SIGCONT')
        await member.end('SIGTERM')
      },
    }
    members.push(member)
    return member
  }

  const closing = opened.move()
  return {
    start,
    words,
    async command(...commands) {
      const child = spawn(PROGRAM, [...commands, '--data', join(folder, 'operator'), ...words], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: environment,
      })
      let output = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
      const [code] = await once(child, 'close')
      if (code !== 0) throw new Error(`image-library ${commands.join(' ')}: ${code}\n${output}`)
      return output
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  }
}

async function logIn(url: string, ini: string): Promise<string> {
  const text = await readFile(ini, 'utf8')
  const [client = '', secret = ''] = [/client_id\s*=\s*(\S+)/, /secret\s*=\s*(\S+)/].map(
    (pattern) => pattern.exec(text)?.[1],
  )
  return fetchToken(url, client, secret)
}

function printSettings(settings: Readonly<Record<string, string>>): string {
  const lines = (key: string, value: string) => `[${key.split('.')[0]}]\n${key.split('.')[1]} = ${value}\n`
  return Object.entries(settings)
    .map(([key, value]) => lines(key, value))
    .join('')
}

/** Waits for the line that says where it listens. */
function listening(child: ChildProcess, output: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    const look = () => {
      const url = /listens on (http:\/\/127\.0\.0\.1:[1-9]\d*)/.exec(output())?.[1]
      if (url) resolve(url)
    }
    child.stdout?.on('data', look)
    child.once('exit', (code) => reject(new Error(`the daemon ended with code ${code}:\n${output()}`)))
  })
}
