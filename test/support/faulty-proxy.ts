import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'

const XML = (code: string) =>
  `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>no</Message></Error>`

/** What may go wrong between a client and an object store: before the server is asked, or with its answer. */
export const S3_FAULTS = {
  'a reset before it is sent': { early: (response: ServerResponse) => response.destroy() },
  'no answer': { early: () => undefined },
  '503': { early: (response: ServerResponse) => response.writeHead(503).end('busy') },
  SlowDown: { early: (response: ServerResponse) => response.writeHead(503).end(XML('SlowDown')) },
  '500': { early: (response: ServerResponse) => response.writeHead(500).end(XML('InternalError')) },
  '429': { early: (response: ServerResponse) => response.writeHead(429).end() },
  'a page of something else': {
    early: (response: ServerResponse) => response.writeHead(200).end('<html><body>Log in</body></html>'),
  },
  'a reset after it was done': { late: (response: ServerResponse) => response.destroy() },
  'half a body': {
    late: (response: ServerResponse, answer: IncomingMessage, body: Buffer) => {
      response.writeHead(answer.statusCode ?? 0, { ...answer.headers, 'content-length': body.length + 1 })
      response.write(body, () => response.destroy())
    },
  },
  'a body that stops': {
    late: (response: ServerResponse, answer: IncomingMessage, body: Buffer) => {
      response.writeHead(answer.statusCode ?? 0, { ...answer.headers, 'content-length': body.length + 1 })
      response.write(body)
    },
  },
} as const

export type S3Fault = keyof typeof S3_FAULTS

interface Rule {
  readonly fault: S3Fault
  left: number
}

export interface FaultyProxy extends AsyncDisposable {
  readonly url: string
  /**
   * Breaks so many requests of those that have `word` in their address, or in a short body.
   * @returns what says how many there were in all
   */
  break(word: string, fault: S3Fault, times: number): { readonly count: number }
}

/** Passes requests on to an object store as they are, but for those that it was told to break. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const { hostname, port } = new URL(target)
  const rules = new Map<string, Rule & { count: number }>()

  const pass = async (request: IncomingMessage, response: ServerResponse) => {
    const sent = Buffer.concat(await request.toArray())
    // Whatever has a body that is text names its objects there.
    const asked = `${request.url}${sent.length < 1000 ? sent : ''}`
    const word = [...rules.keys()].find((word) => asked.includes(word))
    const rule = word === undefined ? undefined : rules.get(word)
    const fault = rule && rule.left > 0 ? S3_FAULTS[rule.fault] : undefined
    if (rule) {
      rule.count++
      rule.left--
    }
    if (fault && 'early' in fault) return void fault.early(response)
    const { method, url, headers } = request
    const onward = httpRequest({ hostname, port, method, path: url, headers })
    onward.end(sent)
    const [answer] = (await once(onward, 'response')) as [IncomingMessage]
    const body = Buffer.concat(await answer.toArray())
    if (fault) return void fault.late(response, answer, body)
    response.writeHead(answer.statusCode ?? 0, answer.rawHeaders).end(body)
  }

  const server = createServer((request, response) => {
    pass(request, response).catch(() => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    break(word, fault, times) {
      const rule = { fault, left: times, count: 0 }
      rules.set(word, rule)
      return rule
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
