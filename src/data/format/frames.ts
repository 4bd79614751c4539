import type { ByteFeed } from '#base/byte-feed.ts'
import type { streamRefusals } from './stream-refusals.ts'

/** What lz4 and zstd files share: frames, each with a magic number, and frames that every reader skips. */

type Refuse = ReturnType<typeof streamRefusals>

const FIRST_SKIPPABLE = 0x184d2a50
const SKIPPABLE = Array.from({ length: 16 }, (_, index) => FIRST_SKIPPABLE + index)

export function isSkippableMagic(magic: number): boolean {
  return magic >= FIRST_SKIPPABLE && magic < FIRST_SKIPPABLE + SKIPPABLE.length
}

/**
 * Looks at the next frame's magic number without moving on.
 * @param known the magic numbers besides those of skippable frames
 * @returns undefined at the end of the file
 * @throws trailing-garbage where no frame begins; truncated where the file ends within a magic number
 */
export async function peekMagic(
  feed: ByteFeed,
  known: readonly number[],
  refuse: Refuse,
): Promise<number | undefined> {
  await feed.fill(4)
  const bytes = feed.view(4)
  if (bytes.length === 0) return undefined
  const magic = bytes.reduceRight((value, byte) => value * 256 + byte, 0)
  const span = 256 ** bytes.length
  if (![...known, ...SKIPPABLE].some((candidate) => candidate % span === magic)) {
    if (feed.offset === 0) throw refuse.damaged(0, 'no frame begins here')
    throw refuse.trailingGarbage(feed.offset)
  }
  if (bytes.length < 4) throw refuse.truncated(feed.offset + bytes.length)
  return magic
}

/**
 * Moves behind a skippable frame, of any length.
 * @throws truncated
 */
export async function skipFrame(feed: ByteFeed, refuse: Refuse): Promise<void> {
  const enough = await feed.fill(8)
  const length = enough ? readLe32(feed.view(8), 4) : 0
  if (!enough || !(await feed.skip(8 + length))) throw refuse.truncated(feed.offset + feed.buffered)
}

export function readLe32(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(offset, true)
}
