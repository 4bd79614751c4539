import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, request } from 'node:http'
import { pipeline } from 'node:stream/promises'

/** What was asked of an object store, by kind, such as `PUT blocks`. */
export interface StoreCounts {
  readonly requests: Readonly<Record<string, number>>
  /** Bytes of what was put, and of what was got. */
  readonly put: number
  readonly got: number
}

export interface CountingProxy extends AsyncDisposable {
  readonly endpoint: string
  /** Since it was asked last. */
  take(): StoreCounts
}

/** Passes all on as it comes, and counts. */
export async function startCountingProxy(of: string): Promise<CountingProxy> {
  const agent = new Agent({ keepAlive: true })
  let requests: Record<string, number> = {}
  let [put, got] = [0, 0]
  const server = createServer(async (incoming, outgoing) => {
    const kind = kindOf(incoming)
    requests[kind] = (requests[kind] ?? 0) + 1
    const { method, headers, url = '/' } = incoming
    // With the host that it was signed for.
    const sent = request(new URL(url, of), { method, headers, agent })
    const answered = once(sent, 'response') as Promise<[IncomingMessage]>
    try {
      const [[answer]] = await Promise.all([answered, pipeline(incoming, sent)])
      if (method === 'PUT') put += Number(headers['content-length'] ?? 0)
      if (method === 'GET') got += Number(answer.headers['content-length'] ?? 0)
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
      await pipeline(answer, outgoing)
    } catch {
      outgoing.destroy()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  return {
    endpoint: `http://127.0.0.1:${port}`,
    take() {
      const counts = { requests, put, got }
      requests = {}
      put = 0
      got = 0
      return counts
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      agent.destroy()
      server.close()
    },
  }
}

function kindOf({ method = '', url = '/', headers }: IncomingMessage): string {
  const { pathname, searchParams } = new URL(url, 'http://store')
  if (searchParams.has('list-type')) return 'LIST'
  // Bucket, prefix, and then what it is that lies there.
  const folder = pathname.split('/')[3] ?? ''
  return `${headers['x-amz-copy-source'] === undefined ? method : 'COPY'} ${folder}`
}
