import { Refusal } from '#base/refusal.ts'

/** What a thread's end by an error means for its registration: too much memory is the image's fault, all else ours. */
export function crashOf(error: unknown): unknown {
  if ((error as { code?: unknown }).code !== 'ERR_WORKER_OUT_OF_MEMORY') return error
  return new Refusal('memory-limit', 'The image needs more memory to decode than a registration may use.', {
    cause: error,
    hint: 'Convert it to a raw image, compress it with lz4 or xz and register that.',
  })
}
