import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** What Node says of bytes that it could not parse. */
export interface ParseError extends Error {
  readonly code?: string
  /** The bytes that came together. */
  readonly rawPacket?: unknown
  /** How many of them were understood. */
  readonly bytesParsed?: number
}

/** Node's parser of a connection; nothing of it is documented but that `connection` may be emitted again. */
interface Parser {
  remove(): void
  close(): void
}

/** What of the server's own listens to a connection. */
const EVENTS = ['data', 'end', 'drain', 'timeout', 'error', 'close']

/**
 * Takes a request once more whose address has bytes beyond ASCII, encoded this time: Node refuses them, in whatever
 * mode, and names of objects are sent so by clients that know Swift's own server to take them.
 * @returns whether it did; not where anything but the beginning of one request line came before those bytes
 */
export function readmit(server: Server, socket: Socket, error: ParseError): boolean {
  const { code, rawPacket: packet, bytesParsed } = error
  if (code !== 'HPE_INVALID_URL' || !(packet instanceof Buffer) || bytesParsed === undefined) return false
  // Of a request before this one, no byte may be taken for the beginning of the line.
  if (Reflect.get(socket, '_httpMessage') || !/^[A-Z]+ \S*$/.test(packet.toString('latin1', 0, bytesParsed)))
    return false
  const end = packet.indexOf('\n')
  const line = packet.toString('latin1', 0, end < 0 ? packet.length : end)
  const encoded = line.replace(/[\x80-\xff]/g, (char) => `%${char.charCodeAt(0).toString(16)}`)
  if (encoded === line) return false

  const parser = Reflect.get(socket, 'parser') as Parser
  // Has the parser let go of the connection's bytes, which it otherwise takes before anybody sees them.
  socket.on('data', () => undefined)
  for (const event of EVENTS) socket.removeAllListeners(event)
  parser.remove()
  Reflect.set(socket, 'parser', null)
  // It is still at work further up on the stack.
  setImmediate(() => parser.close())
  server.emit('connection', socket)
  socket.emit('data', Buffer.concat([Buffer.from(encoded, 'latin1'), packet.subarray(line.length)]))
  return true
}
