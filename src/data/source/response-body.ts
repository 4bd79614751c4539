import { KiB } from '#base/bytes.ts'
import { ConnectionLost } from './failure.ts'
import type { Framing } from './response-head.ts'

/** Finds a body's bytes among those that arrive. */
export interface BodyReader {
  /**
   * Calls `emit` with each piece `[start, end)` of `bytes` that belongs to the body.
   * @throws ConnectionLost where the framing is damaged: what came before it is good
   */
  feed(bytes: Uint8Array, emit: (start: number, end: number) => void): void
  /** All of the body has been seen; what follows is nobody's. */
  readonly isComplete: boolean
  /** Whether the body may end with the connection. */
  readonly mayEnd: boolean
}

export function createBodyReader(framing: Framing): BodyReader {
  if (framing.kind === 'length') return countedBody(framing.length)
  return framing.kind === 'chunked' ? chunkedBody() : bodyUntilClose()
}

function countedBody(length: number): BodyReader {
  let left = length
  return {
    feed(bytes, emit) {
      const end = Math.min(left, bytes.length)
      if (end > 0) emit(0, end)
      left -= end
    },
    get isComplete() {
      return left === 0
    },
    get mayEnd() {
      return left === 0
    },
  }
}

function bodyUntilClose(): BodyReader {
  return {
    feed(bytes, emit) {
      emit(0, bytes.length)
    },
    isComplete: false,
    mayEnd: true,
  }
}

const LF = 0x0a
const CR = 0x0d
/** A chunk's size line with its extensions, and all trailer lines together; nobody needs more. */
const MAX_SIZE_LINE = KiB
const MAX_TRAILERS = 16 * KiB
/** 2^52 - 1: thirteen digits, so that sums stay exact. */
const MAX_SIZE_DIGITS = 13

/**
 * The chunked coding of RFC 9112 section 7.1. Sizes are read digit by digit and lines counted, never collected, so a
 * stranger's framing takes no memory.
 */
function chunkedBody(): BodyReader {
  let state: 'size' | 'extension' | 'data' | 'data-end' | 'trailer' | 'complete' = 'size'
  let left = 0
  let digits = 0
  /** Bytes seen of the present line; in the trailers, of all their lines. */
  let line = 0
  /** In the trailers: whether the present line has held anything yet. */
  let lineIsEmpty = true
  let sawCR = false

  const damaged = (): never => {
    throw new ConnectionLost("the chunks of the server's answer are damaged")
  }
  const beginLine = (next: typeof state) => {
    state = next
    line = 0
    digits = 0
    sawCR = false
    lineIsEmpty = true
  }
  const endSizeLine = () => {
    if (digits === 0) damaged()
    beginLine(left === 0 ? 'trailer' : 'data')
  }
  const feedFraming = (byte: number) => {
    if (state === 'size' || state === 'extension') {
      if (++line > MAX_SIZE_LINE) damaged()
      const digit = state === 'size' && !sawCR ? hexDigit(byte) : -1
      if (byte === LF) endSizeLine()
      else if (sawCR) damaged()
      else if (byte === CR) sawCR = true
      else if (digit >= 0) {
        if (++digits > MAX_SIZE_DIGITS) damaged()
        left = (digits === 1 ? 0 : left * 16) + digit
      } else if (state === 'size') {
        if (byte !== SEMICOLON && byte !== SPACE && byte !== TAB) damaged()
        state = 'extension'
      }
    } else if (state === 'data-end') {
      if (byte === LF) beginLine('size')
      else if (byte !== CR || sawCR) damaged()
      else sawCR = true
    } else {
      if (++line > MAX_TRAILERS) damaged()
      if (byte === LF) {
        if (lineIsEmpty) state = 'complete'
        lineIsEmpty = true
      } else if (byte !== CR) lineIsEmpty = false
    }
  }

  return {
    feed(bytes, emit) {
      let at = 0
      while (at < bytes.length && state !== 'complete') {
        if (state !== 'data') {
          feedFraming(bytes[at] ?? 0)
          at++
          continue
        }
        const end = Math.min(at + left, bytes.length)
        emit(at, end)
        left -= end - at
        at = end
        if (left === 0) beginLine('data-end')
      }
    },
    get isComplete() {
      return state === 'complete'
    },
    get mayEnd() {
      return state === 'complete'
    },
  }
}

const SEMICOLON = 0x3b
const SPACE = 0x20
const TAB = 0x09

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1
}
