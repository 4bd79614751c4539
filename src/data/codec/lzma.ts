import { readFileSync } from 'node:fs'
import { MiB } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'

/** The most compressed bytes of an LZMA2 chunk, and the most that come out of one. */
export const MAX_CHUNK_INPUT = 64 * 1024
export const MAX_CHUNK_OUTPUT = 2 * MiB
/** The largest dictionary that fits a memory, in bytes. */
export const MAX_LZMA_DICTIONARY = 1024 * MiB

const PAGE_SIZE = 65_536
/** Below 2 GiB, so that no address is negative. */
const MAX_PAGES = 32_767
/** The module's own state and tables lie below. */
const INPUT = 96 * 1024
/** A chunk may be read this far past its end. */
const INPUT_MARGIN = 64
const WINDOW = 192 * 1024
/** A match may be written this far past its end. */
const WINDOW_MARGIN = 64
/** The window is larger than the dictionary by at least this, so that it need not move with every chunk. */
const MIN_SLACK = 4 * MiB

interface Exports {
  resetState(properties: number): void
  decodeChunk(
    input: number,
    inputEnd: number,
    output: number,
    outputEnd: number,
    floor: number,
    origin: number,
    dictionary: number,
  ): number
  initCrc64(): void
  crc64(address: number, end: number, crc: bigint): bigint
}

let compiled: WebAssembly.Module | undefined
/** One memory is kept for the next decoder of this thread: one that decodes block after block needs but one. */
let idle: Lzma2 | undefined

/**
 * Lends a decoder of LZMA2 chunks for one sequence of them, to be given back by `release`.
 * @param dictionary bytes, at most MAX_LZMA_DICTIONARY; memory for one and a half of it, 4 MiB more at least, is
 * touched as output fills it
 */
export function borrowLzma2(dictionary: number): Lzma2 {
  const decoder = idle ?? new Lzma2()
  idle = undefined
  decoder.start(dictionary)
  return decoder
}

/**
 * Decodes LZMA2 chunks in a memory of its own. Output goes behind earlier output, in a window that moves back when
 * it is full; so a match is copied once and output need not be copied at all. Any input is safe, but which chunk may
 * follow which is the caller's to check, from the chunks' headers.
 */
export class Lzma2 {
  readonly #memory = new WebAssembly.Memory({ initial: WINDOW / PAGE_SIZE, maximum: MAX_PAGES })
  readonly #wasm: Exports
  #bytes: Uint8Array
  #dictionary = 0
  #windowEnd = WINDOW
  /** Where the next byte goes, where the dictionary begins, and where position 0 would be. */
  #output = WINDOW
  #floor = WINDOW
  #origin = WINDOW

  constructor() {
    compiled ??= new WebAssembly.Module(readFileSync(new URL('./lzma.wasm', import.meta.url)))
    this.#wasm = new WebAssembly.Instance(compiled, { env: { memory: this.#memory } }).exports as Exports
    this.#bytes = new Uint8Array(this.#memory.buffer)
    this.#wasm.initCrc64()
  }

  /** Begins another sequence of chunks, whose first resets all. */
  start(dictionary: number): void {
    assert(dictionary > 0 && dictionary <= MAX_LZMA_DICTIONARY, `a dictionary of ${dictionary} bytes`)
    this.#dictionary = dictionary
    this.#windowEnd = WINDOW + dictionary + Math.max(MIN_SLACK, Math.ceil(dictionary / 2))
    const missing = this.#windowEnd + WINDOW_MARGIN - this.#bytes.length
    if (missing > 0) {
      this.#memory.grow(Math.ceil(missing / PAGE_SIZE))
      this.#bytes = new Uint8Array(this.#memory.buffer)
    }
    this.resetDictionary()
  }

  /** Gives the memory back; nothing of this decoder is used after that. */
  release(): void {
    idle = this
  }

  /** Forgets all output: no later match may reach it. */
  resetDictionary(): void {
    this.#output = WINDOW
    this.#floor = WINDOW
    this.#origin = WINDOW
  }

  /** @param properties (pb * 5 + lp) * 9 + lc, with lc + lp at most 4 */
  resetState(properties: number): void {
    assert(properties >= 0 && properties < 225, `LZMA properties ${properties}`)
    this.#wasm.resetState(properties)
  }

  /** Where the `length` compressed bytes of the next chunk are to be put. */
  input(length: number): Uint8Array {
    assert(length > 0 && length <= MAX_CHUNK_INPUT, `an LZMA2 chunk of ${length} bytes`)
    this.#bytes.fill(0, INPUT + length, INPUT + length + INPUT_MARGIN)
    return this.#bytes.subarray(INPUT, INPUT + length)
  }

  /**
   * Decodes the `inputLength` bytes put to `input` into exactly `length` bytes.
   * @returns a view of them, valid until the next call; undefined where the chunk is damaged: nothing can follow
   */
  decode(inputLength: number, length: number): Uint8Array | undefined {
    assert(inputLength > 0 && inputLength <= MAX_CHUNK_INPUT, `an LZMA2 chunk of ${inputLength} bytes`)
    const target = this.append(length)
    const fault = this.#wasm.decodeChunk(
      INPUT,
      INPUT + inputLength,
      target.byteOffset,
      this.#output,
      this.#floor,
      this.#origin,
      this.#dictionary,
    )
    return fault === 0 ? target : undefined
  }

  /** The place of the next `length` bytes of output, to be filled by the caller: a stored chunk. */
  append(length: number): Uint8Array {
    assert(length > 0 && length <= MAX_CHUNK_OUTPUT, `an LZMA2 chunk of ${length} plain bytes`)
    if (this.#output + length > this.#windowEnd) this.#moveBack()
    const start = this.#output
    this.#output += length
    return this.#bytes.subarray(start, this.#output)
  }

  /** Goes on with a CRC-64 (ECMA-182, as xz has it; 0 at the start) over output, as given by `decode` or `append`. */
  crc64(output: Uint8Array, crc: bigint): bigint {
    assert(output.buffer === this.#bytes.buffer, 'output of another decoder')
    const { byteOffset, length } = output
    return BigInt.asUintN(64, this.#wasm.crc64(byteOffset, byteOffset + length, crc))
  }

  /** Moves what a match may still reach to the beginning of the window. */
  #moveBack(): void {
    const start = Math.max(this.#floor, this.#output - this.#dictionary)
    this.#bytes.copyWithin(WINDOW, start, this.#output)
    const distance = start - WINDOW
    this.#output -= distance
    this.#origin -= distance
    this.#floor = WINDOW
  }
}
