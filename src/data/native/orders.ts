import { Refusal, type RefusalCategory } from '#base/refusal.ts'
import type { DecodeOptions } from '#data/format/decode-options.ts'

/** What a decoder process is to do; it does one thing. */
export type DecodeOrder = StreamOrder | { readonly kind: 'clusters' }

export type StreamOrder =
  | ({ readonly kind: 'gzip' } & Pick<DecodeOptions, 'limit'>)
  | ({ readonly kind: 'zstd' } & Pick<DecodeOptions, 'limit' | 'zstdWindow'>)

export const toJson = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))

/** The categories that a decoder of a stream may refuse with. */
const CATEGORIES: readonly RefusalCategory[] = [
  'truncated',
  'bad-stream',
  'unsupported-stream',
  'checksum',
  'size-mismatch',
  'memory-limit',
  'too-large',
  'trailing-garbage',
  'empty',
]

/** The most bytes in which a decoder may say why it failed. */
export const MAX_FAILURE_SIZE = 4096
/** A sentence of ours is shorter. */
const MAX_TEXT = 500

/** How a decoder says what it threw. */
export function printFailure(error: unknown): Uint8Array {
  const { message } = error as Error
  const { category, hint } = error instanceof Refusal ? error : {}
  return toJson({ category, message: message.slice(0, MAX_TEXT), hint: hint?.slice(0, MAX_TEXT) })
}

/** What a decoder says that it threw: it may have been taken over, so nothing of that is believed but its sense. */
export function parseFailure(bytes: Uint8Array): Error {
  let said: Record<string, unknown> = {}
  try {
    said = Object(JSON.parse(Buffer.from(bytes).toString()))
  } catch {
    // What cannot be read says nothing.
  }
  const category = CATEGORIES.find((known) => known === said.category)
  const message = plainText(said.message)
  if (!category || !message) return new Error(`a decoder failed: ${message ?? 'without a reason'}`)
  const hint = plainText(said.hint)
  return new Refusal(category, message, hint ? { hint } : {})
}

function plainText(value: unknown): string | undefined {
  return typeof value === 'string' ? value.replace(/[^\x20-\x7e]/g, ' ').slice(0, MAX_TEXT) : undefined
}
