import { MachineFault } from '#base/machine-fault.ts'

/** Milliseconds for which a decoder may owe an answer: what it is given at a time takes it less than a second. */
export const ANSWER_MS = 300_000

/**
 * What a decoder process did wrong. The same bytes would do the same again, but where it is gone: unless it crashed,
 * which who started it knows, something else ended it.
 */
export const faults = {
  gone: (cause?: unknown) =>
    new MachineFault('decode: a decoder process ended in the middle of its work', {
      cause,
      hint: 'Look whether the system ended it (dmesg), which it does where memory runs out.',
    }),
  silent: (ms: number) => new Error(`a decoder process gave no answer for ${ms} ms`),
  notAnAnswer: () => new Error('a decoder process answered what is no answer'),
}
