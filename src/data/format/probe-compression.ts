import { MiB } from '#base/bytes.ts'
import { Refusal } from '#base/refusal.ts'
import { type Compression, emptyImage } from './stream-refusals.ts'

/** Frames that both lz4 and zstd tell readers to skip, before the first that tells which of them it is. */
const MAX_SKIPPABLE_FRAMES = 16
const MAX_SKIPPABLE_SIZE = 1 * MiB
const SKIPPABLE_HEADER = 8
const MAGIC_SIZE = 6

const MAGICS: ReadonlyArray<readonly [Compression, readonly number[]]> = [
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['lz4', [0x04, 0x22, 0x4d, 0x18]],
  ['lz4', [0x02, 0x21, 0x4c, 0x18]],
]

export type RecognisedCompression =
  | { readonly kind: Compression }
  | { readonly kind: 'none' }
  /** Not to be told from this much: ask again with `bytes` bytes of the start, or with all there is. */
  | { readonly kind: 'more'; readonly bytes: number }

/**
 * Tells by the first bytes how a file is compressed.
 * @param head the first bytes, usually HEAD_SIZE of them
 * @param ended whether that is all of the file
 * @throws empty where there is nothing, or only frames to skip; bad-stream where there are too many of those;
 * truncated where one of those is cut short; trailing-garbage where no frame follows them
 * @see docs/guides/recognising-images.md
 */
export function recogniseCompression(head: Uint8Array, ended: boolean): RecognisedCompression {
  if (head.length === 0 && ended) throw emptyImage()
  const view = new DataView(head.buffer, head.byteOffset, head.length)
  let at = 0
  for (let skipped = 0; ; skipped++) {
    if (head.length < at + MAGIC_SIZE && !ended) return { kind: 'more', bytes: at + MAGIC_SIZE + 2 }
    if (skipped > 0 && at === head.length) throw emptyImage()
    const found = MAGICS.find(([, magic]) => magic.every((byte, index) => head[at + index] === byte))
    if (found !== undefined && (skipped === 0 || found[0] === 'lz4' || found[0] === 'zstd')) {
      return { kind: found[0] }
    }
    if (!isSkippable(head, at)) {
      if (skipped === 0) return { kind: 'none' }
      throw new Refusal(
        'trailing-garbage',
        `There is no lz4 or zstd frame after the ones to skip (at byte ${at}).`,
      )
    }
    if (head.length < at + SKIPPABLE_HEADER) {
      if (!ended) return { kind: 'more', bytes: at + SKIPPABLE_HEADER }
      throw cutShort(head.length)
    }
    const end = at + SKIPPABLE_HEADER + view.getUint32(at + 4, true)
    if (skipped === MAX_SKIPPABLE_FRAMES || end > MAX_SKIPPABLE_SIZE) {
      throw new Refusal(
        'bad-stream',
        `The stream begins with more than ${MAX_SKIPPABLE_FRAMES} frames or ${MAX_SKIPPABLE_SIZE} bytes to skip.`,
      )
    }
    if (end > head.length && ended) throw cutShort(head.length)
    at = end
  }
}

/**
 * Refuses an image that is compressed twice.
 * @param head the first bytes that came out of the first decoder, HEAD_SIZE or all
 * @throws nested
 */
export function refuseSecondCompression(head: Uint8Array): void {
  const found = MAGICS.find(([, magic]) => magic.every((byte, index) => head[index] === byte))
  if (found === undefined && !isSkippable(head, 0)) return
  const inner = found?.[0] ?? 'lz4 or zstd'
  throw new Refusal('nested', `The image holds another ${inner} stream; only one layer is allowed.`, {
    hint: 'Unpack it once before you register it.',
  })
}

function isSkippable(bytes: Uint8Array, at: number): boolean {
  const [first = 0, second, third, fourth] = bytes.subarray(at, at + 4)
  return first >= 0x50 && first <= 0x5f && second === 0x2a && third === 0x4d && fourth === 0x18
}

function cutShort(length: number): Refusal {
  return new Refusal('truncated', `The file ends too early (${length} bytes). Is the download complete?`)
}
