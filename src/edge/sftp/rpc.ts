import { type ErrorCode, LibraryError } from '#base/errors.ts'
import { OrbitRefusal, type RefusalKind } from '#control/orbit/orbit.ts'
import { DESK_METHODS, type Desk } from './rpc-methods.ts'

/** A question from a process with connections, and the answer to it. */
export interface RpcCall {
  readonly kind: 'call'
  readonly id: number
  readonly method: string
  readonly args: readonly unknown[]
}

export interface RpcAnswer {
  readonly kind: 'answer'
  readonly id: number
  readonly value?: unknown
  readonly error?: PlainError
}

/** An error as it crosses to another process: structured cloning would lose its class and fields. */
type PlainError =
  | { readonly type: 'refusal'; readonly kind: RefusalKind; readonly message: string }
  | { readonly type: 'library'; readonly code: ErrorCode; readonly message: string }
  | { readonly type: 'bug'; readonly message: string }

/** Asks by messages; answers are handed in as they come. */
export interface DeskCaller {
  readonly desk: Desk
  receive(answer: RpcAnswer): void
}

export function createDeskCaller(send: (call: RpcCall) => void): DeskCaller {
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  let last = 0
  const ask = (method: string, args: readonly unknown[]) => {
    const answer = Promise.withResolvers<unknown>()
    waiting.set(++last, answer)
    send({ kind: 'call', id: last, method, args })
    return answer.promise
  }
  const methods = DESK_METHODS.map((method) => [method, (...args: unknown[]) => ask(method, args)])
  return {
    desk: Object.fromEntries(methods) as Desk,
    receive({ id, value, error }) {
      const answer = waiting.get(id)
      waiting.delete(id)
      if (error) answer?.reject(fromPlain(error))
      else answer?.resolve(value)
    },
  }
}

const METHODS: ReadonlySet<string> = new Set(DESK_METHODS)

/** Answers one question. @param onBug is told of errors that the other side can do nothing about */
export async function answerCall(
  desk: Desk,
  { id, method, args }: RpcCall,
  onBug: (error: unknown) => void,
): Promise<RpcAnswer> {
  try {
    if (!METHODS.has(method)) throw new Error(`internal error: there is no method ${method}`)
    const answer = desk[method as keyof Desk] as (...args: readonly unknown[]) => Promise<unknown>
    return { kind: 'answer', id, value: await answer(...args) }
  } catch (error) {
    const plain = toPlain(error)
    if (plain.type === 'bug') onBug(error)
    return { kind: 'answer', id, error: plain }
  }
}

function toPlain(error: unknown): PlainError {
  if (error instanceof OrbitRefusal) return { type: 'refusal', kind: error.kind, message: error.message }
  if (error instanceof LibraryError) return { type: 'library', code: error.code, message: error.message }
  return { type: 'bug', message: error instanceof Error ? error.message : String(error) }
}

function fromPlain(plain: PlainError): Error {
  if (plain.type === 'refusal') return new OrbitRefusal(plain.kind, plain.message)
  if (plain.type === 'library') return new LibraryError(plain.code, plain.message)
  return new Error(plain.message)
}
