import { LibraryError } from '#base/errors.ts'
import type { Target } from './target.ts'

/** A reader that does wrong as its input has it, so that it is known that the fuzzer would tell. */
export const brokenTarget: Target = {
  name: 'broken',
  seeds: () => [Buffer.from('refuse')],
  async read(input, random) {
    switch (Buffer.from(input).toString()) {
      case 'throw':
        throw new TypeError('x is not a function')
      case 'hang':
        for (;;);
      case 'wait':
        return new Promise(() => {})
      case 'allocate':
        return new Uint8Array(2 ** 29).subarray(0, 1)
      case 'heap': {
        const all: number[][] = []
        for (;;) all.push(new Array(1e6).fill(all.length))
      }
      case 'pieces':
        return Buffer.from(`${random()}`)
      default:
        throw new LibraryError('invalid', 'it is refused')
    }
  },
}
