import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http'
import type { Agent } from 'node:https'
import { describeErrno } from './config-file.ts'
import { CommandError } from './failure.ts'

const ANSWER_TIMEOUT_MS = 60_000
/** A JSON answer longer than this is not read: 100 000 images are about 120 MB. */
const MAX_TEXT_BYTES = 256 * 1024 * 1024

export interface HttpRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  /** Sends the body itself: for uploads. Called once the socket is ours; must end the request. */
  readonly send?: (request: ClientRequest) => Promise<void>
  readonly signal?: AbortSignal
  /** Longest time without a byte either way, milliseconds; 0 waits for ever. */
  readonly idleMs?: number
}

export interface HttpResponse {
  readonly url: URL
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: IncomingMessage
}

export interface Http {
  request(request: HttpRequest): Promise<HttpResponse>
  /** The whole body as text. */
  text(response: HttpResponse): Promise<string>
  close(): void
}

/** The connection could not be made, or broke: trying again may help. */
export class ConnectionError extends CommandError {
  constructor(url: URL, cause: unknown) {
    const isCertificate = /CERT|LEAF_SIGNATURE/.test(String((cause as NodeJS.ErrnoException).code))
    super(`cannot reach ${url.origin}: ${describeErrno(cause)}`, {
      cause,
      hint: isCertificate
        ? '--insecure goes on without knowing who answers'
        : 'is the library running there? api_url in the configuration says where we look',
    })
    this.name = 'ConnectionError'
  }
}

const SECRET_HEADERS =
  /^((?:authorization|x-brightbox-otp|x-auth-token|(?:set-)?cookie|x-\w+-meta-temp-url-key(?:-2)?): *)(\S+ )?.*$/gim

/** Hides what would let a reader of a log act as us. */
export function redact(text: string): string {
  return text
    .replace(/("(?:access_token|refresh_token|secret|password|client_secret)"\s*:\s*)"[^"]*"/g, '$1"…"')
    .replace(SECRET_HEADERS, '$1$2…')
    .replace(/(\w+:\/\/)[^/\s"@]+@/g, '$1…@')
    .replace(/([?&](?:temp_url_sig|signature|sig|token|x-amz-signature)=)[^&\s"]+/gi, '$1…')
}

/** HTTP/1.1 over the modules of Node: they load in a third of the time of anything else. */
export function createHttp({ insecure, debug }: { insecure: boolean; debug: (line: string) => void }): Http {
  const agents = new Map<string, Agent>()
  const agentFor = (module: typeof import('node:https'), protocol: string): Agent => {
    const agent = agents.get(protocol) ?? new module.Agent({ keepAlive: true, rejectUnauthorized: !insecure })
    agents.set(protocol, agent)
    return agent
  }
  const log = (mark: string, text: string) => {
    for (const line of redact(text).trimEnd().split('\n')) debug(`${mark} ${line}`)
  }

  return {
    async request(wanted) {
      const { method, url, headers, body, send, signal } = wanted
      const module = (await import(
        url.protocol === 'https:' ? 'node:https' : 'node:http'
      )) as typeof import('node:https')
      const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
      const options: RequestOptions = {
        method,
        headers: { ...headers, ...length },
        agent: agentFor(module, url.protocol),
        timeout: wanted.idleMs ?? ANSWER_TIMEOUT_MS,
        ...(signal ? { signal } : {}),
      }
      log('>', `${method} ${url.href}\n${printHeaders(options.headers ?? {})}${body ?? ''}`)
      const response = await exchange(module.request(url, options), { url, body, send })
      log('<', `${response.status}\n${printHeaders(response.headers)}`)
      return response
    },
    async text(response) {
      const chunks: Buffer[] = []
      let size = 0
      try {
        for await (const chunk of response.body as AsyncIterable<Buffer>) {
          size += chunk.length
          if (size > MAX_TEXT_BYTES) throw new CommandError('the answer is too long to read')
          chunks.push(chunk)
        }
      } catch (cause) {
        if (cause instanceof CommandError || (cause as Error).name === 'AbortError') throw cause
        throw new ConnectionError(response.url, cause)
      }
      const text = Buffer.concat(chunks).toString('utf8')
      if (text) log('<', text)
      return text
    },
    close: () => {
      for (const agent of agents.values()) agent.destroy()
    },
  }
}

const printHeaders = (headers: object): string =>
  Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('')

function exchange(
  request: ClientRequest,
  { url, body, send }: { url: URL } & { body: HttpRequest['body']; send: HttpRequest['send'] },
): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    request.on('timeout', () => request.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })))
    request.on('error', (cause) =>
      reject(cause.name === 'AbortError' ? cause : new ConnectionError(url, cause)),
    )
    request.on('response', (message) => {
      resolve({ url, status: message.statusCode ?? 0, headers: message.headers, body: message })
    })
    if (send === undefined) request.end(body)
    else send(request).catch((cause) => request.destroy(cause as Error))
  })
}
