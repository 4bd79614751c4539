import { LibraryError } from '#base/errors.ts'
import type { Store, StoredNames } from './store.ts'

/** What a store is asked for, and measured at; the listings, whose pace is their reader's, are not. */
export const STORE_OPERATIONS = [
  'block_claim',
  'block_get',
  'block_mend',
  'block_put',
  'block_quarantine',
  'block_read',
  'block_remove',
  'block_size',
  'manifest_claim',
  'manifest_mend',
  'manifest_open',
  'manifest_put',
  'manifest_quarantine',
  'manifest_remove',
  'manifest_size',
  'sync',
] as const

export type StoreOperation = (typeof STORE_OPERATIONS)[number]

/** One call of a store, as plain data: threads collect some and send them along with what they send anyway. */
export interface StoreTime {
  readonly operation: StoreOperation
  readonly seconds: number
  /** At rest: of a block that was put, mended or read, or that a claim found; else 0. */
  readonly bytes: number
  /** `missing`: there was nothing of that name; the code of an error; `failed` for one without. */
  readonly outcome: 'done' | 'missing' | LibraryError['code'] | 'failed'
}

export type StoreTimes = readonly StoreTime[]

const BLOCK_CALLS: Readonly<Record<string, StoreOperation>> = {
  claim: 'block_claim',
  get: 'block_get',
  mend: 'block_mend',
  put: 'block_put',
  quarantine: 'block_quarantine',
  readInto: 'block_read',
  remove: 'block_remove',
  sizeOf: 'block_size',
}

const MANIFEST_CALLS: Readonly<Record<string, StoreOperation>> = {
  claim: 'manifest_claim',
  mend: 'manifest_mend',
  open: 'manifest_open',
  put: 'manifest_put',
  quarantine: 'manifest_quarantine',
  remove: 'manifest_remove',
  sizeOf: 'manifest_size',
}

/** Once so many wait, those that follow are not counted: who has nothing to send for so long is stuck anyway. */
const WAITING_MAX = 10_000

/** What was measured and not sent yet. */
export class StoreClock {
  #waiting: StoreTime[] = []

  readonly record = (time: StoreTime): void => {
    if (this.#waiting.length < WAITING_MAX) this.#waiting.push(time)
  }

  readonly recordAll = (times: StoreTimes): void => {
    for (const time of times) this.record(time)
  }

  /** All of it, once. */
  take(): StoreTimes {
    const taken = this.#waiting
    this.#waiting = []
    return taken
  }
}

/** The same store, which tells of each call when it has ended. @param record must be quick, and not throw */
export function measureStore(store: Store, record: (time: StoreTime) => void): Store {
  // Not by a proxy of the whole: V8 takes no proxy in `await using`.
  return {
    ...store,
    blocks: measured(store.blocks, BLOCK_CALLS, record),
    manifests: measured(store.manifests, MANIFEST_CALLS, record),
    sync: timed((only) => store.sync(only as StoredNames | undefined), 'sync', record) as Store['sync'],
  }
}

type Call = (...parameters: unknown[]) => unknown

/** @param calls by the method's name; the others are passed on as they are */
function measured<T extends object>(
  part: T,
  calls: Readonly<Record<string, StoreOperation>>,
  record: (time: StoreTime) => void,
): T {
  const bound = new Map<string | symbol, unknown>()
  const bind = (name: string | symbol): unknown => {
    const value: unknown = Reflect.get(part, name)
    if (typeof value !== 'function') return value
    const call: Call = value.bind(part)
    const operation = typeof name === 'string' && Object.hasOwn(calls, name) ? calls[name] : undefined
    return operation === undefined ? call : timed(call, operation, record)
  }
  return new Proxy(part, {
    get(_, name) {
      if (!bound.has(name)) bound.set(name, bind(name))
      return bound.get(name)
    },
  })
}

function timed(call: Call, operation: StoreOperation, record: (time: StoreTime) => void): Call {
  return async (...parameters) => {
    const started = performance.now()
    const ended = (outcome: StoreTime['outcome'], bytes: number) =>
      record({ operation, seconds: (performance.now() - started) / 1000, bytes, outcome })
    let result: unknown
    try {
      result = await call(...parameters)
    } catch (error) {
      ended(outcomeOf(error), 0)
      throw error
    }
    const isMissing = LOOKS.has(operation) && result === undefined
    ended(isMissing ? 'missing' : 'done', bytesOf(operation, result, parameters))
    return result
  }
}

const LOOKS: ReadonlySet<StoreOperation> = new Set([
  'block_claim',
  'block_size',
  'manifest_claim',
  'manifest_size',
])

function outcomeOf(error: unknown): StoreTime['outcome'] {
  if (!(error instanceof LibraryError)) return 'failed'
  return error.code === 'not_found' ? 'missing' : error.code
}

function bytesOf(operation: StoreOperation, result: unknown, [, bytes]: readonly unknown[]): number {
  if (operation === 'block_put' || operation === 'block_mend')
    return bytes instanceof Uint8Array ? bytes.length : 0
  if (result instanceof Uint8Array) return result.length
  const isSize = operation === 'block_claim' || operation === 'block_read'
  return isSize && typeof result === 'number' ? result : 0
}
