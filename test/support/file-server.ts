import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join, normalize } from 'node:path'
import { pipeline } from 'node:stream/promises'

export interface FileServer extends AsyncDisposable {
  url(file: string): string
}

/** Serves a folder over HTTP on loopback, well-behaved, with ranges and a strong ETag; `?chunked` hides the length. */
export async function startFileServer(folder: string): Promise<FileServer> {
  const server = createServer(async (request, response) => {
    const { pathname, search } = new URL(request.url ?? '/', 'http://x')
    const path = join(folder, normalize(decodeURIComponent(pathname)))
    const info = await stat(path).catch(() => undefined)
    if (!info?.isFile()) return response.writeHead(404).end('not found')
    const etag = `"${info.size.toString(16)}-${info.mtimeMs.toString(16)}"`
    const [, first] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? []
    const ifRange = request.headers['if-range']
    const start = first && (ifRange === undefined || ifRange === etag) ? Number(first) : 0
    const length = search === '?chunked' ? {} : { 'content-length': info.size - start }
    const headers = { etag, 'accept-ranges': 'bytes', ...length }
    if (start > 0)
      response.writeHead(206, { ...headers, 'content-range': `bytes ${start}-${info.size - 1}/${info.size}` })
    else response.writeHead(200, headers)
    // A client that stops listening is its own business.
    await pipeline(createReadStream(path, { start, highWaterMark: 1 << 20 }), response).catch(() => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    url: (file) => `http://127.0.0.1:${port}/${file}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
