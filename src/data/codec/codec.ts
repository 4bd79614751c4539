import { readFileSync } from 'node:fs'
import { assert } from '#base/errors.ts'

/** Bytes of scratch memory that `compress` needs; never shared by two calls at a time. */
export const COMPRESS_TABLE_SIZE = 32 * 1024
/** Bytes of memory that one streaming XXH32 needs. */
export const XXH32_STATE_SIZE = 48
/** Addresses below this one are never used, so that 0 means "nowhere". */
export const FIRST_ADDRESS = 1024
/** The most that one memory holds, in bytes: below 2 GiB, so that no sum of addresses wraps inside the codec. */
export const MAX_MEMORY_SIZE = 32767 * 65536

const PAGE_SIZE = 65536

/**
 * LZ4 blocks, XXH32 and the zero test over one shared memory. An address is an index into `bytes`; every range
 * must lie in the memory, from FIRST_ADDRESS on, else it is a bug in the caller and throws.
 */
export interface Codec {
  /** The whole memory. */
  readonly bytes: Uint8Array
  /**
   * Compresses into one independent LZ4 block. The same bytes always give the same block, with any capacity that
   * they fit: the encoder is part of the stored format (docs/decisions/0003-encoder-is-part-of-the-format.md).
   * @param table COMPRESS_TABLE_SIZE bytes of scratch
   * @returns bytes written, 0 where they do not fit `capacity`
   * @see lz4_Block_format.md
   */
  compress(source: number, length: number, target: number, capacity: number, table: number): number
  /**
   * Decodes one LZ4 block; safe on any input. Writes nothing outside [target, target + capacity), but may use all
   * of that as scratch.
   * @param history the lowest address that a match may reach, at most `target` (equal for an independent block)
   * @returns bytes written, negative where the block is corrupt or does not fit
   */
  decompress(source: number, length: number, target: number, capacity: number, history: number): number
  /** XXH32 of a range, unsigned. */
  xxh32(address: number, length: number, seed: number): number
  /** Begins an XXH32 of several ranges in the XXH32_STATE_SIZE bytes at `state`. */
  xxh32Start(state: number, seed: number): void
  xxh32Update(state: number, address: number, length: number): void
  /** The XXH32 of everything so far; more may follow. */
  xxh32Finish(state: number): number
  isZero(address: number, length: number): boolean
}

interface Exports {
  compress(source: number, length: number, target: number, capacity: number, table: number): number
  decompress(source: number, length: number, target: number, capacity: number, history: number): number
  xxh32(address: number, length: number, seed: number): number
  xxh32Start(state: number, seed: number): void
  xxh32Update(state: number, address: number, length: number): void
  xxh32Finish(state: number): number
  isZero(address: number, length: number): number
}

let compiled: WebAssembly.Module | undefined

/**
 * Makes a memory that several threads can share; it never grows.
 * @param size bytes, at most MAX_MEMORY_SIZE; rounded up to 64 KiB
 */
export function createCodecMemory(size: number): WebAssembly.Memory {
  assert(size > 0 && size <= MAX_MEMORY_SIZE, `a codec memory of ${size} bytes`)
  const pages = Math.ceil(size / PAGE_SIZE)
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
}

/** Opens the codec over a memory of `createCodecMemory`; cheap, since the module is compiled once a thread. */
export function openCodec(memory: WebAssembly.Memory): Codec {
  compiled ??= new WebAssembly.Module(readFileSync(new URL('./codec.wasm', import.meta.url)))
  const wasm = new WebAssembly.Instance(compiled, { env: { memory } }).exports as Exports
  const bytes = new Uint8Array(memory.buffer)

  // WebAssembly itself only keeps an access inside the memory; this keeps it from wrapping around.
  function check(address: number, length: number): void {
    const fits = address >= FIRST_ADDRESS && length >= 0 && address + length <= bytes.length
    assert(fits && Number.isInteger(address) && Number.isInteger(length), `codec range ${address}+${length}`)
  }

  return {
    bytes,
    compress(source, length, target, capacity, table) {
      check(source, length)
      check(target, capacity)
      check(table, COMPRESS_TABLE_SIZE)
      return wasm.compress(source, length, target, capacity, table)
    },
    decompress(source, length, target, capacity, history) {
      check(source, length)
      check(target, capacity)
      check(history, target - history)
      return wasm.decompress(source, length, target, capacity, history)
    },
    xxh32(address, length, seed) {
      check(address, length)
      return wasm.xxh32(address, length, seed) >>> 0
    },
    xxh32Start(state, seed) {
      check(state, XXH32_STATE_SIZE)
      wasm.xxh32Start(state, seed)
    },
    xxh32Update(state, address, length) {
      check(state, XXH32_STATE_SIZE)
      check(address, length)
      wasm.xxh32Update(state, address, length)
    },
    xxh32Finish(state) {
      check(state, XXH32_STATE_SIZE)
      return wasm.xxh32Finish(state) >>> 0
    },
    isZero(address, length) {
      check(address, length)
      return wasm.isZero(address, length) !== 0
    },
  }
}
