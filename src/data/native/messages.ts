import type { Writable } from 'node:stream'

/**
 * What a decoder and its user say: `order` is what to do, as JSON; `data` bytes of a stream, or a batch of clusters and
 * its answer; `end` that no more data comes; `failed` why not, as JSON.
 */
const KINDS = ['order', 'data', 'end', 'failed'] as const

export type MessageKind = (typeof KINDS)[number]

export interface Head {
  /** Undefined where there is no such kind. */
  readonly kind: MessageKind | undefined
  /** Bytes of the body, which follows. */
  readonly length: number
}

/** Kind and length of the body, in bytes. */
export const HEAD_SIZE = 5
const NOTHING = new Uint8Array(0)

export function printHead(kind: MessageKind, length: number): Uint8Array {
  const head = Buffer.alloc(HEAD_SIZE)
  head[0] = KINDS.indexOf(kind)
  head.writeUInt32LE(length, 1)
  return head
}

export function parseHead(head: Uint8Array): Head {
  const length = new DataView(head.buffer, head.byteOffset).getUint32(1, true)
  return { kind: KINDS[head[0] ?? KINDS.length], length }
}

/** Resolves once the memory of the parts of the body may change. */
export function sendMessage(
  stream: Writable,
  kind: MessageKind,
  ...parts: readonly Uint8Array[]
): Promise<void> {
  const head = printHead(
    kind,
    parts.reduce((sum, part) => sum + part.length, 0),
  )
  return new Promise((resolve, reject) => {
    stream.cork()
    for (const part of [head, ...parts]) stream.write(part)
    stream.write(NOTHING, (error) => (error ? reject(error) : resolve()))
    stream.uncork()
  })
}
