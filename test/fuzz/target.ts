/** What a fuzzer tries: readers of bytes that strangers write. */

/** A number from 0 to below 1; the same ones again for the same seed. */
export type Random = () => number

/** Where a number stands in an input that is worth changing as a whole. */
export interface Field {
  readonly at: number
  /** Bytes, 1 to 8. */
  readonly size: number
  readonly littleEndian: boolean
}

/** How an input ended. Anything else that a reader does is a finding. */
export type Verdict =
  | { readonly kind: 'accepted'; readonly output: Uint8Array }
  /** `category` is that of a Refusal, or the code of another LibraryError. */
  | {
      readonly kind: 'refused'
      readonly isRefusal: boolean
      readonly category: string
      readonly message: string
    }

export interface Case {
  readonly input: Uint8Array
  readonly verdict: Verdict
}

/** One reader. */
export interface Target {
  readonly name: string
  /** About how many inputs others read while this reads one. */
  readonly cost?: number
  /** Whether parts of an input are read at the same time: of several faults, any may be the one that is told. */
  readonly isConcurrent?: boolean
  /** Inputs to begin with, besides those kept in the corpus; the same ones each time. */
  seeds(): Uint8Array[]
  /** Makes an input by its structure, with something wrong in it at times. */
  make?(random: Random): Uint8Array
  /** Finds the numbers of an input, as far as it can be understood. */
  fields?(input: Uint8Array): Field[]
  /** Makes checksums right again after a change, so that it is not only they that refuse. */
  mend?(input: Uint8Array): Uint8Array
  /**
   * Reads an input; pieces, where it arrives in pieces, are as `random` has it.
   * @returns what was read: the same for the same input, whatever `random` says
   * @throws LibraryError where it is refused
   */
  read(input: Uint8Array, random: Random): Promise<Uint8Array>
  /** Removes what `read` left for the next time. */
  close?(): Promise<void>
  /**
   * Compares with what other programs make of the same inputs.
   * @param folder for files, empty, removed afterwards
   * @throws Disagreement
   */
  compare?(cases: readonly Case[], folder: string): Promise<void>
}

/** Another program reads an input differently, and no rule of ours says so. */
export class Disagreement extends Error {
  readonly input: Uint8Array

  constructor(input: Uint8Array, message: string) {
    super(message)
    this.input = input
  }
}
