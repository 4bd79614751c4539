import { MAX_INPUT } from './mutation.ts'

const HEAD = 16
const STOP = 0
const STATE = 1
const LENGTH = 2
const CASES = 3
const READING = 1

/** What a fuzzing thread is at, told through memory, so that it is known when the thread itself can no longer tell. */
export class SharedInput {
  readonly memory: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #bytes: Uint8Array

  constructor(memory = new SharedArrayBuffer(HEAD + MAX_INPUT)) {
    this.memory = memory
    this.#words = new Int32Array(memory, 0, HEAD / 4)
    this.#bytes = new Uint8Array(memory, HEAD)
  }

  get stopped(): boolean {
    return Atomics.load(this.#words, STOP) !== 0
  }

  stop(): void {
    Atomics.store(this.#words, STOP, 1)
  }

  /** Cases begun. */
  get cases(): number {
    return Atomics.load(this.#words, CASES)
  }

  /** Whether an input is being read; else something else is done, which has limits of its own. */
  get reading(): boolean {
    return Atomics.load(this.#words, STATE) === READING
  }

  /** The input that is being read, or was last. */
  get input(): Uint8Array {
    return this.#bytes.slice(0, Atomics.load(this.#words, LENGTH))
  }

  begin(input: Uint8Array): void {
    this.#bytes.set(input)
    Atomics.store(this.#words, LENGTH, input.length)
    Atomics.add(this.#words, CASES, 1)
    Atomics.store(this.#words, STATE, READING)
  }

  end(): void {
    Atomics.store(this.#words, STATE, 0)
  }
}
