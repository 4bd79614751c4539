import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type Agent, type IncomingHttpHeaders, request } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import type { Daemon } from './daemon.ts'
import { libraryAt } from './library-place.ts'
import { execute } from './registration.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** The body as text. */
  readonly text: string
}

export interface Request {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | Readable
  readonly agent?: Agent
}

/** Sends one request exactly as it is written: nothing in the path is normalised, no redirect followed. */
export async function send(method: string, url: string, options: Request = {}): Promise<Answer> {
  const { headers = {}, body, agent } = options
  const { hostname, port, origin } = new URL(url)
  const sent = request({ method, host: hostname, port, path: url.slice(origin.length), headers, agent })
  const answered = once(sent, 'response')
  // Whoever is refused early may find the connection closed while it still sends; the answer is what counts.
  sent.on('error', () => undefined)
  if (body instanceof Readable) await pipeline(body, sent).catch(() => undefined)
  else sent.end(body)
  const [response] = await answered
  const bytes = await buffer(response)
  return { status: response.statusCode, headers: response.headers, body: bytes, text: bytes.toString() }
}

/** Somebody who is logged in to Orbit. */
export interface OrbitUser {
  readonly account: string
  /** Id and secret of an API client. */
  readonly user: string
  readonly key: string
  readonly token: string
  /** Where to log in. */
  readonly auth: string
  /** Address of the account's storage. */
  readonly storage: string
  /** @param path within the account, encoded: `/container/object`, or nothing for the account itself */
  send(method: string, path: string, options?: Request): Promise<Answer>
}

export async function logIn(daemon: Daemon, user: string, key: string): Promise<OrbitUser> {
  const auth = `${daemon.url}/v1`
  const { status, headers } = await send('GET', auth, { headers: { 'x-auth-user': user, 'x-auth-key': key } })
  assert.equal(status, 200, `${user} logs in`)
  const storage = String(headers['x-storage-url'])
  const token = String(headers['x-auth-token'])
  return {
    account: storage.split('/').at(-1) ?? '',
    user,
    key,
    token,
    auth,
    storage,
    send: (method, path, options = {}) =>
      send(method, `${storage}${path}`, {
        ...options,
        headers: { 'x-auth-token': token, ...options.headers },
      }),
  }
}

/** The API client that the library began with. */
export async function firstUser(daemon: Daemon): Promise<OrbitUser> {
  const ini = await readFile(daemon.config, 'utf8')
  const [user, key] = [/client_id\s*=\s*(\S+)/, /secret\s*=\s*(\S+)/].map((of) => of.exec(ini)?.[1] ?? '')
  return logIn(daemon, user ?? '', key ?? '')
}

/** Makes another account. @returns its id */
export async function addAccount(daemon: Daemon, ...words: string[]): Promise<string> {
  const created = ['account', 'create', 'other', ...(await libraryAt(daemon.data)), ...words]
  const { stdout } = await execute('bin/image-library', created)
  return /acc-[0-9a-z]{5}/.exec(stdout)?.[0] ?? ''
}

/** Makes another API client of an account. */
export async function addUser(
  daemon: Daemon,
  account: string,
  permissions: 'full' | 'storage',
): Promise<OrbitUser> {
  const words = ['client', 'create', '--account', account, '--permissions', permissions]
  const { stdout } = await execute('bin/image-library', [...words, ...(await libraryAt(daemon.data))])
  const [user, , , key] = stdout.trim().split('\n').at(-1)?.split(/\s+/) ?? []
  return logIn(daemon, user ?? '', key ?? '')
}

/** Where the daemon says that SFTP listens. */
export function sftpPort(daemon: Daemon): number {
  const port = /sftp:\/\/127\.0\.0\.1:([1-9]\d*)/i.exec(daemon.output())?.[1]
  if (!port) throw new Error(`no SFTP service:\n${daemon.output()}`)
  return Number(port)
}
