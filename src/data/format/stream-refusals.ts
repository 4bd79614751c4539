import { Refusal, type RefusalCategory } from '#base/refusal.ts'

/** The compressions that an image may come in, by content; never more than one of them around an image. */
export type Compression = 'lz4' | 'xz' | 'gzip' | 'zstd'

const DOWNLOAD_HINT = 'Compare the length and checksum with those that the publisher names, then try again.'
const DAMAGE_HINT = 'Compare the checksum with the one that the publisher names, then try again.'

/** Makes the refusals of one compressed stream; `offset` is always in bytes of the input. */
export function streamRefusals(name: Compression) {
  const refuse = (category: RefusalCategory, message: string, hint?: string, cause?: unknown) =>
    new Refusal(category, message, { ...(hint && { hint }), ...(cause !== undefined && { cause }) })
  return {
    /** The input ends at `offset`, within something. */
    truncated: (offset: number) =>
      refuse(
        'truncated',
        `The file ends too early (${offset} bytes). Is the download complete?`,
        DOWNLOAD_HINT,
      ),
    damaged: (offset: number, why: string, cause?: unknown) =>
      refuse('bad-stream', `The ${name} stream is damaged at byte ${offset}: ${why}.`, DAMAGE_HINT, cause),
    checksum: (offset: number, of: string, cause?: unknown) =>
      refuse('checksum', `The ${name} checksum is wrong at byte ${offset} (${of}).`, DAMAGE_HINT, cause),
    sizeMismatch: (says: number | string, holds: number | string) =>
      refuse('size-mismatch', `The ${name} stream says ${says} bytes but holds ${holds}.`, DAMAGE_HINT),
    unsupported: (what: string) =>
      refuse(
        'unsupported-stream',
        `The ${name} stream uses ${what}, which is not supported.`,
        `Compress it again with the ${name} program's defaults.`,
      ),
    memoryLimit: (what: string, needed: number, limit: number) =>
      refuse(
        'memory-limit',
        `The ${name} stream needs a ${what} of ${needed} bytes, more than the limit of ${limit}.`,
        `Compress it again with a smaller ${what}.`,
      ),
    trailingGarbage: (offset: number) =>
      refuse(
        'trailing-garbage',
        `There is extra data after the end of the ${name} stream (at byte ${offset}).`,
      ),
  }
}

export function tooLarge(limit: number, size?: number): Refusal {
  const disk = size === undefined ? 'The disk is' : `The disk is ${size} bytes,`
  return new Refusal('too-large', `${disk} more than the limit of ${limit} bytes.`)
}

export function emptyImage(): Refusal {
  return new Refusal('empty', 'The image is empty.')
}
