import type { Socket } from 'node:net'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { pace } from './connect-socket.ts'

/** The longest answers list a dozen block nodes; more is not what a QEMU of ours says. */
const MOST_LINE = 4 * MiB

export interface QmpEvent {
  readonly name: string
  readonly data: Readonly<Record<string, unknown>>
}

/** A connection to QEMU's monitor. */
export interface Qmp {
  /**
   * Asks QEMU for something and resolves with what it returns.
   * @throws unavailable where QEMU refuses, is gone, or does not answer within `limitMs`
   */
  execute(command: string, args?: object, limitMs?: number): Promise<unknown>
  /** Resolves once the connection has ended, whoever ended it. */
  readonly closed: Promise<void>
  close(): void
}

const ANSWER_MS = 30_000

/**
 * Speaks QMP over a connected socket; resolves once QEMU is ready for commands.
 * @throws unavailable where it is not within `limitMs`; then the socket is closed
 * @see QEMU docs/interop/qmp-spec.txt
 */
export async function openQmp(options: {
  readonly socket: Socket
  readonly limitMs: number
  readonly onEvent: (event: QmpEvent) => void
}): Promise<Qmp> {
  const { socket, limitMs, onEvent } = options
  const answers = new Map<number, PromiseWithResolvers<unknown>>()
  const greeting = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<void>()
  let lastId = 0

  const receive = (message: Readonly<Record<string, unknown>>) => {
    if ('QMP' in message) return greeting.resolve()
    if (typeof message.event === 'string') return onEvent({ name: message.event, data: fields(message.data) })
    // What came too late is nobody's any more.
    const answer = typeof message.id === 'number' ? answers.get(message.id) : undefined
    if ('error' in message) answer?.reject(new Error(shortText(fields(message.error).desc)))
    else answer?.resolve(message.return)
  }
  const lines = new LineFeed()
  pace(socket)
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const line of lines.push(chunk)) receive(fields(JSON.parse(line)))
    } catch (error) {
      socket.destroy(error instanceof Error ? error : undefined)
    }
  })
  // A connection that broke is one that closed.
  socket.on('error', () => {})
  const onClose = () => {
    const gone = new Error('QEMU closed its monitor')
    greeting.reject(gone)
    for (const answer of answers.values()) answer.reject(gone)
    closed.resolve()
  }
  if (socket.closed) onClose()
  else socket.on('close', onClose)
  // QEMU may hang up before anybody waits for its greeting.
  greeting.promise.catch(() => {})

  const execute = async (command: string, args: object = {}, answerMs = ANSWER_MS) => {
    const id = ++lastId
    const answer = Promise.withResolvers<unknown>()
    answers.set(id, answer)
    if (socket.destroyed) answer.reject(new Error('QEMU closed its monitor'))
    else socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
    try {
      return await within(answer.promise, answerMs)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new LibraryError('unavailable', `ask QEMU for ${command}: ${reason}`, { cause })
    } finally {
      answers.delete(id)
    }
  }

  try {
    await within(greeting.promise, limitMs)
    await execute('qmp_capabilities', {}, limitMs)
  } catch (cause) {
    socket.destroy()
    if (cause instanceof LibraryError) throw cause
    throw new LibraryError('unavailable', 'greet QEMU: its monitor does not answer', { cause })
  }
  return { execute, closed: closed.promise, close: () => socket.destroy() }
}

/** The same connection for work that is over after so long, whatever QEMU answers, and how often. */
export function limitQmp(qmp: Qmp, limitMs: number): Qmp {
  const until = performance.now() + limitMs
  return {
    closed: qmp.closed,
    close: () => qmp.close(),
    async execute(command, args, answerMs = ANSWER_MS) {
      const left = until - performance.now()
      if (left > 0) return qmp.execute(command, args, Math.min(answerMs, left))
      throw new LibraryError('unavailable', `ask QEMU for ${command}: all took more than ${limitMs / 1000} s`)
    },
  }
}

/** Rejects where work does not settle in time. */
export async function within<T>(work: Promise<T>, limitMs: number): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${limitMs / 1000} s`)), limitMs)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Cuts what arrives into lines of bounded length, in memory of that length, however small the pieces. */
export class LineFeed {
  #line = Buffer.alloc(0)
  #length = 0

  /** @throws Error where a line is too long, with which the connection has no use any more */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let from = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      this.#add(chunk.subarray(from, end))
      lines.push(this.#line.toString('utf8', 0, this.#length))
      this.#length = 0
      from = end + 1
    }
    this.#add(chunk.subarray(from))
    return lines
  }

  #add(bytes: Buffer): void {
    const length = this.#length + bytes.length
    if (length > MOST_LINE) throw new Error(`a line of more than ${MOST_LINE} bytes`)
    if (length > this.#line.length) {
      const longer = Buffer.alloc(Math.min(MOST_LINE, Math.max(length, 2 * this.#line.length)))
      this.#line.copy(longer, 0, 0, this.#length)
      this.#line = longer
    }
    bytes.copy(this.#line, this.#length)
    this.#length = length
  }
}

export const MOST_TEXT = 200

/** What QEMU says to people, which may be anything where a guest has taken it over. */
export const shortText = (value: unknown): string =>
  typeof value === 'string' ? value.slice(0, MOST_TEXT).replace(/\p{Cc}/gu, ' ') : 'no reason'

/** What an answer has, whatever it is. */
export const fields = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}

/** What a list has. */
export const list = (value: unknown): readonly Readonly<Record<string, unknown>>[] =>
  Array.isArray(value) ? value.map(fields) : []
