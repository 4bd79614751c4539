import { tooMuchMemory } from '#data/native/start-decoder.ts'

/** What a thread's end by an error means for its registration: too much memory is the image's fault, all else ours. */
export function crashOf(error: unknown): unknown {
  if ((error as { code?: unknown }).code !== 'ERR_WORKER_OUT_OF_MEMORY') return error
  return tooMuchMemory(error)
}
