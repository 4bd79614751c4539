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
  return framing.kind === 'chunked' ? new ChunkedBody() : bodyUntilClose()
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
class ChunkedBody implements BodyReader {
  #state: 'size' | 'extension' | 'data' | 'data-end' | 'trailer' | 'complete' = 'size'
  /** The chunk's size as read so far, then what is left of it. */
  #left = 0
  #digits = 0
  /** Bytes seen of the present line; in the trailers, of all their lines. */
  #line = 0
  #lineIsEmpty = true
  #sawCR = false

  get isComplete(): boolean {
    return this.#state === 'complete'
  }

  get mayEnd(): boolean {
    return this.#state === 'complete'
  }

  feed(bytes: Uint8Array, emit: (start: number, end: number) => void): void {
    let at = 0
    while (at < bytes.length && this.#state !== 'complete') {
      if (this.#state !== 'data') {
        this.#feedFraming(bytes[at] ?? 0)
        at++
        continue
      }
      const end = Math.min(at + this.#left, bytes.length)
      emit(at, end)
      this.#left -= end - at
      at = end
      if (this.#left === 0) this.#begin('data-end')
    }
  }

  #feedFraming(byte: number): void {
    if (this.#state === 'trailer') this.#feedTrailer(byte)
    else if (this.#state === 'data-end') this.#feedDataEnd(byte)
    else this.#feedSizeLine(byte)
  }

  #feedSizeLine(byte: number): void {
    if (++this.#line > MAX_SIZE_LINE) throw damaged()
    if (byte === LF) {
      if (this.#digits === 0) throw damaged()
      this.#begin(this.#left === 0 ? 'trailer' : 'data')
      return
    }
    if (this.#sawCR) throw damaged()
    if (byte === CR) {
      this.#sawCR = true
      return
    }
    if (this.#state === 'extension') return
    const digit = hexDigit(byte)
    if (digit === undefined) {
      if (byte !== SEMICOLON && byte !== SPACE && byte !== TAB) throw damaged()
      this.#state = 'extension'
      return
    }
    if (++this.#digits > MAX_SIZE_DIGITS) throw damaged()
    this.#left = this.#left * 16 + digit
  }

  #feedDataEnd(byte: number): void {
    if (byte === LF) this.#begin('size')
    else if (byte === CR && !this.#sawCR) this.#sawCR = true
    else throw damaged()
  }

  /** Trailer lines are passed over; an empty one ends the body. */
  #feedTrailer(byte: number): void {
    if (++this.#line > MAX_TRAILERS) throw damaged()
    if (byte === LF) {
      if (this.#lineIsEmpty) this.#state = 'complete'
      this.#lineIsEmpty = true
    } else if (byte !== CR) this.#lineIsEmpty = false
  }

  #begin(state: 'size' | 'data' | 'data-end' | 'trailer'): void {
    this.#state = state
    this.#line = 0
    this.#digits = 0
    this.#sawCR = false
    this.#lineIsEmpty = true
  }
}

const damaged = () => new ConnectionLost("the chunks of the server's answer are damaged")

const SEMICOLON = 0x3b
const SPACE = 0x20
const TAB = 0x09

function hexDigit(byte: number): number | undefined {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : undefined
}
