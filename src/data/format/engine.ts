import type { Transform } from 'node:stream'
import { KiB } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'

/** A decoder that takes bytes at one end and gives bytes at the other, each side waiting for the other. */
export interface Engine {
  /** Resolves once the bytes are used: their memory may change then. */
  write(bytes: Uint8Array): Promise<void>
  /** Says that no more will come; not needed where the bytes themselves tell their end. */
  end(): Promise<void>
  /** To be read once, to its end; throws what the decoder throws. */
  readonly output: AsyncIterable<Uint8Array>
  /** Gives up, also in the middle; waits on either side end. */
  close(): void
}

/**
 * Runs a feeding side and a decoder's output at the same time; only a few chunks lie between them.
 * @param feeding writes all input to the engine; what it throws counts before what the engine throws
 */
export async function* runEngine(
  engine: Engine,
  feeding: (engine: Engine) => Promise<void>,
): AsyncGenerator<Uint8Array, void, void> {
  let fault: { reason: unknown } | undefined
  const fed = feeding(engine).catch((reason: unknown) => {
    fault = { reason }
    engine.close()
  })
  try {
    yield* engine.output
  } catch (error) {
    // A decoder that lost its input complains too; why the input ended is what matters.
    if (!fault || fault.reason instanceof EngineClosed) throw error
  } finally {
    engine.close()
  }
  await fed
  if (fault) throw fault.reason
}

/** The most input that is decoded in one call, in bytes. */
export const SMALL_INPUT = 64 * KiB
/** The most output that one call may give, in bytes. */
export const SMALL_OUTPUT = 256 * KiB

interface SpanDecoder {
  /** Decodes all at once; undefined where that is not possible, and the engine is to tell why. */
  readonly small: (bytes: Uint8Array) => Uint8Array | undefined
  readonly open: () => Engine
}

/**
 * Decodes something whose end is known from its structure: in one call where it is small, since opening an engine
 * for each of thousands of small parts would be slow, else through an engine.
 * @returns what the spans return
 */
export async function* decodeSpans<T>(
  spans: AsyncGenerator<Uint8Array, T, void>,
  { small, open }: SpanDecoder,
): AsyncGenerator<Uint8Array, T, void> {
  const parts: Uint8Array[] = []
  let length = 0
  let next = await spans.next()
  while (!next.done && length + next.value.length <= SMALL_INPUT) {
    parts.push(next.value.slice())
    length += next.value.length
    next = await spans.next()
  }
  const start = Buffer.concat(parts)
  const whole = next.done ? small(start) : undefined
  if (whole) yield whole
  else {
    yield* runEngine(open(), async (engine) => {
      await engine.write(start)
      while (!next.done) {
        await engine.write(next.value)
        next = await spans.next()
      }
      await engine.end()
    })
  }
  assert(next.done, 'all spans were decoded')
  return next.value
}

/** Makes an engine of one of zlib's streams. */
export function zlibEngine(transform: Transform): Engine {
  let closed = false
  // Whoever waits is told by the callbacks; this keeps an error between two waits from ending the process.
  transform.on('error', () => {})
  const call = (start: (done: (error?: Error | null) => void) => void) =>
    new Promise<void>((resolve, reject) => {
      if (closed || transform.destroyed) return reject(new EngineClosed())
      const onClose = () => reject(new EngineClosed())
      transform.once('close', onClose)
      start((error) => {
        transform.off('close', onClose)
        if (error) reject(error)
        else resolve()
      })
    })
  return {
    write: (bytes) => call((done) => transform.write(bytes, done)),
    end: async () => {
      transform.end()
    },
    output: transform,
    close() {
      closed = true
      transform.destroy()
    },
  }
}

/** The feeding side was told that nobody decodes any more. */
export class EngineClosed extends Error {}

/** Whether zlib itself refused the bytes. */
export function isZlibError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && /^(Z|ZSTD)_/.test((error as NodeJS.ErrnoException).code ?? '')
}
