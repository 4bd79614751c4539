/** Serves one folder as fast as Node can; a process of its own, so that its work is not counted as the library's. */
import { open, stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import { basename, join } from 'node:path'

const PIECE = 1024 * 1024
const folder = process.argv[2] ?? '.'

const server = createServer(async (request, response) => {
  const path = join(folder, basename(request.url ?? ''))
  const info = await stat(path).catch(() => undefined)
  if (!info?.isFile()) return response.writeHead(404).end()
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  let at = Number(range?.[1] ?? 0)
  const end = range?.[2] ? Math.min(Number(range[2]) + 1, info.size) : info.size
  response.writeHead(range ? 206 : 200, {
    'content-length': end - at,
    'accept-ranges': 'bytes',
    etag: `"${info.size}-${info.mtimeMs}"`,
    ...(range && { 'content-range': `bytes ${at}-${end - 1}/${info.size}` }),
  })
  if (request.method === 'HEAD') return response.end()
  const file = await open(path)
  const buffer = Buffer.alloc(PIECE)
  try {
    while (at < end && !response.destroyed) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(PIECE, end - at), at)
      if (bytesRead === 0) break
      at += bytesRead
      // The buffer is free again once the bytes are handed to the socket.
      await new Promise<void>((resolve) => response.write(buffer.subarray(0, bytesRead), () => resolve()))
    }
  } finally {
    await file.close()
    response.end()
  }
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object' && address) process.stdout.write(`${address.port}\n`)
})
