/** One client for both sides: plain node:http, and bytes that nobody has stored before. */
import { randomBytes, randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'

const MiB = 1024 * 1024

export interface Side {
  /** Address of the account. */
  readonly storage: string
  readonly token: string
}

export async function logIn(auth: string, user: string, key: string): Promise<Side> {
  const { headers } = await fetch(auth, { headers: { 'x-auth-user': user, 'x-auth-key': key } })
  return { storage: headers.get('x-storage-url') ?? '', token: headers.get('x-auth-token') ?? '' }
}

const POOL = randomFillSync(Buffer.alloc(16 * MiB))
const PIECE = 256 * 1024

export interface Sent {
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Bytes of the body. */
  readonly size?: number
}

/** Sends a request and reads what comes. @returns bytes received */
export async function ask(
  side: Side,
  { method, path, headers, size = 0 }: Sent,
  agent?: Agent,
): Promise<number> {
  const sent = request(`${side.storage}${path}`, {
    method,
    agent,
    headers: { 'x-auth-token': side.token, 'content-length': size, ...headers },
  })
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>
  answered.catch(() => undefined)
  await sendBytes(sent, size)
  const [response] = await answered
  let received = 0
  response.on('data', (chunk: Buffer) => {
    received += chunk.length
  })
  await once(response, 'end')
  const status = response.statusCode ?? 0
  if (status >= 300) throw new Error(`${method} ${path}: ${status}`)
  return received
}

/** Never the same MiB twice, nor one that compresses. */
async function sendBytes(sent: ReturnType<typeof request>, size: number): Promise<void> {
  let stamp = randomBytes(16)
  for (let at = 0; at < size; at += PIECE) {
    if (at % MiB === 0) stamp = randomBytes(16)
    const offset = (at + stamp.readUInt16LE(0)) % (POOL.length - PIECE)
    const piece = Buffer.from(POOL.subarray(offset, offset + Math.min(PIECE, size - at)))
    stamp.copy(piece)
    if (!sent.write(piece)) await once(sent, 'drain')
  }
  sent.end()
}

/** Does `count` requests on so many connections. @returns milliseconds that each took */
export async function repeat(
  side: Side,
  { count, connections }: { readonly count: number; readonly connections: number },
  make: (index: number) => Sent,
): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const took: number[] = []
  let next = 0
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (next < count) {
        const began = performance.now()
        await ask(side, make(next++), agent)
        took.push(performance.now() - began)
      }
    }),
  )
  agent.destroy()
  return took
}

export function quantile(numbers: readonly number[], q: number): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN
}
