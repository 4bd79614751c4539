/** Milliseconds for which a decoder may owe an answer: what it is given at a time takes it less than a second. */
export const ANSWER_MS = 300_000

/** What a decoder process did wrong. Its registration is not tried again: the same bytes would do the same. */
export const faults = {
  gone: (cause?: unknown) => new Error('a decoder process ended in the middle of its work', { cause }),
  silent: (ms: number) => new Error(`a decoder process gave no answer for ${ms} ms`),
  notAnAnswer: () => new Error('a decoder process answered what is no answer'),
}
