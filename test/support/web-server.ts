import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'

/** One request as it came in. */
export interface WebRequest {
  readonly method: string
  readonly path: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The nth request for this path, from 0. */
  readonly attempt: number
}

/** What the server does with a request: anything at all with the socket; throwing or returning leaves it open. */
export type Behaviour = (request: WebRequest, socket: Socket) => void

/** A web server on loopback that misbehaves on command. It speaks HTTP by hand, so that it can speak it wrongly. */
export interface WebServer extends AsyncDisposable {
  readonly port: number
  /** Every request so far, in order. */
  readonly requests: readonly WebRequest[]
  /** TCP connections accepted so far. */
  connections(): number
  url(path: string): string
  on(path: string, behaviour: Behaviour): void
}

export interface Certificate {
  readonly key: string
  readonly cert: string
}

/** @param host the address to listen at; @param tls makes it an https server */
export async function startWebServer({
  host = '127.0.0.1',
  tls,
}: {
  readonly host?: string
  readonly tls?: Certificate
} = {}): Promise<WebServer> {
  const behaviours = new Map<string, Behaviour>()
  const requests: WebRequest[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const serve = (socket: Socket) => {
    connections++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    let text = ''
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      if (!text.includes('\r\n\r\n')) return
      const request = parseRequest(text, requests)
      text = ''
      requests.push(request)
      const behaviour = behaviours.get(request.path.replace(/\?.*/, '')) ?? status(404)
      behaviour(request, socket)
    })
  }
  const server = tls ? createTlsServer(tls, serve) : createServer(serve)
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    requests,
    connections: () => connections,
    url: (path) => `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}${path}`,
    on: (path, behaviour) => behaviours.set(path, behaviour),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function parseRequest(text: string, earlier: readonly WebRequest[]): WebRequest {
  const [requestLine = '', ...lines] = text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n')
  const [method = '', path = ''] = requestLine.split(' ')
  const headers: Record<string, string> = {}
  for (const line of lines)
    headers[line.slice(0, line.indexOf(':')).toLowerCase()] = line.replace(/^[^:]*: */, '')
  return { method, path, headers, attempt: earlier.filter((other) => other.path === path).length }
}

export interface FileOptions {
  readonly etag?: string
  readonly lastModified?: string
  /** Whether ranges are answered with 206; true where not given. */
  readonly ranges?: boolean
  /** Breaks the connection off after so many bytes of the body, some of which may be lost. */
  readonly dropAfter?: number
  /** Closes the connection in order after so many bytes of the body. */
  readonly endAfter?: number
  /** Stops after so many bytes of the body and stays open. */
  readonly stopAfter?: number
  readonly headers?: Readonly<Record<string, string>>
}

/** Serves bytes as a good server does, up to the faults that are asked for. */
export function file(content: Uint8Array, options: FileOptions = {}): Behaviour {
  return ({ headers: asked }, socket) => {
    const validators = { etag: options.etag, 'last-modified': options.lastModified }
    const first = Number(/^bytes=(\d+)-$/.exec(asked.range ?? '')?.[1] ?? Number.NaN)
    const isCurrent = [options.etag, options.lastModified, undefined].includes(asked['if-range'])
    const isRange = options.ranges !== false && !Number.isNaN(first) && isCurrent
    const start = isRange ? first : 0
    const rest = content.subarray(start)
    if (isRange && rest.length === 0) {
      socket.end(head(416, { 'content-range': `bytes */${content.length}` }))
      return
    }
    const range = isRange ? `bytes ${start}-${content.length - 1}/${content.length}` : undefined
    const fields = {
      'content-length': rest.length,
      'content-range': range,
      ...validators,
      ...options.headers,
    }
    socket.write(head(isRange ? 206 : 200, fields))
    const { dropAfter, endAfter, stopAfter } = options
    if (endAfter !== undefined) socket.end(rest.subarray(0, endAfter))
    else if (stopAfter !== undefined) socket.write(rest.subarray(0, stopAfter))
    else if (dropAfter !== undefined) socket.write(rest.subarray(0, dropAfter), () => socket.destroy())
    else socket.end(rest)
  }
}

/** A response's head as text. */
export function head(
  code: number,
  headers: Readonly<Record<string, string | number | undefined>> = {},
): string {
  const lines = Object.entries(headers).filter(([, value]) => value !== undefined)
  return `HTTP/1.1 ${code} X\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
}

export function status(code: number, headers: Readonly<Record<string, string>> = {}, body = ''): Behaviour {
  return (_request, socket) => {
    socket.end(head(code, { 'content-length': String(Buffer.byteLength(body)), ...headers }) + body)
  }
}

export function redirect(location: string, code = 302): Behaviour {
  return status(code, { location })
}

/** Writes the parts one after another, then closes; for answers that break the rules of HTTP. */
export function raw(...parts: readonly (string | Uint8Array)[]): Behaviour {
  return (_request, socket) => {
    for (const part of parts) socket.write(part)
    socket.end()
  }
}

/** Accepts the request and never says a word. */
export const silent: Behaviour = () => {}

/** Writes `begin`, then one more byte of `drip` every `everyMs`, for ever. */
export function dripping(begin: string, drip: string, everyMs: number): Behaviour {
  return (_request, socket) => {
    socket.write(begin)
    const timer = setInterval(() => socket.write(drip), everyMs)
    socket.on('close', () => clearInterval(timer))
  }
}

/** A chunked body that never ends, as fast as it is taken. */
export const endless: Behaviour = (_request, socket) => {
  const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65536, 7), Buffer.from('\r\n')])
  const more = () => {
    while (!socket.destroyed && socket.write(chunk));
  }
  socket.on('drain', more)
  socket.write(head(200, { 'transfer-encoding': 'chunked' }))
  more()
}

/** Behaves differently each time it is asked; the last one stays. */
export function inTurn(...behaviours: readonly [Behaviour, ...Behaviour[]]): Behaviour {
  return (request, socket) => {
    const turn = Math.min(request.attempt, behaviours.length - 1)
    behaviours[turn]?.(request, socket)
  }
}

/**
 * Makes a certificate that signs itself, with the openssl of the machine.
 * @param names subjectAltName, such as `DNS:images.test,IP:127.0.0.1`
 * @param notAfter when it runs out, as `20200101000000Z`
 */
export function makeCertificate(names: string, notAfter = '20990101000000Z'): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'certificate-'))
  const openssl = (command: string) =>
    execFileSync('openssl', command.split(' '), { cwd: folder, stdio: 'pipe' })
  try {
    // Only `openssl ca` takes dates in the past.
    const config = `[ca]
default_ca = own
[own]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = policy
x509_extensions = extensions
[policy]
commonName = supplied
[extensions]
subjectAltName = ${names}
`
    for (const [name, text] of [
      ['config', config] as const,
      ['index', ''] as const,
      ['serial', '01'] as const,
    ]) {
      writeFileSync(join(folder, name), text)
    }
    const curve = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1'
    openssl(`req ${curve} -nodes -keyout key -out request -subj /CN=image-library-test`)
    const dates = `-startdate 20190101000000Z -enddate ${notAfter}`
    openssl(`ca -batch -selfsign -notext -config config -keyfile key -in request -out cert ${dates}`)
    return {
      key: readFileSync(join(folder, 'key'), 'utf8'),
      cert: readFileSync(join(folder, 'cert'), 'utf8'),
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
