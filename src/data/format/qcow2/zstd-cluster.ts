import { constants, zstdDecompressSync } from 'node:zlib'
import { KiB, MiB } from '#base/bytes.ts'

const FRAME_MAGIC = 0xfd2fb528
const SKIPPABLE_MAGIC = 0x184d2a50
const MAX_WINDOW_LOG = 23
const MAX_WINDOW = 8 * MiB
const MAX_BLOCK = 128 * KiB
/** Every call of the decoder costs microseconds however little it gives; writers make one frame a cluster. */
const MAX_FRAMES = 1024

/**
 * Decodes zstd frames until they fill one cluster; skippable frames may stand between.
 * @returns exactly one cluster, and how much input it took
 * @throws Error, of ours or zlib's, where a frame is broken, cut, too large, or needs a dictionary or a window
 *   above 8 MiB
 * @see RFC 8878, section 3.1
 */
export function decodeZstdCluster(
  input: Uint8Array,
  clusterSize: number,
): { bytes: Uint8Array; consumed: number } {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  const parts: Uint8Array[] = []
  let missing = clusterSize
  let at = 0
  for (let frames = 0; missing > 0; frames++) {
    if (frames === MAX_FRAMES) throw new Error(`more than ${MAX_FRAMES} frames`)
    while (isSkippable(view, at)) at = within(view, at + 8 + view.getUint32(at + 4, true))
    const end = frameEnd(view, at)
    const part = zstdDecompressSync(input.subarray(at, end), {
      chunkSize: Math.max(missing, MIN_CHUNK),
      maxOutputLength: missing,
      params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
    })
    parts.push(part)
    missing -= part.length
    at = end
  }
  const [first] = parts
  return { bytes: first && parts.length === 1 ? first : Buffer.concat(parts), consumed: at }
}

/** The least that zlib takes. */
const MIN_CHUNK = 64

function isSkippable(view: DataView, at: number): boolean {
  return at + 8 <= view.byteLength && (view.getUint32(at, true) & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC
}

function within(view: DataView, end: number): number {
  if (end > view.byteLength) throw new Error('a zstd frame is cut')
  return end
}

/** Where the frame at `at` ends, found from its headers alone. Node's decoder stops there without saying where. */
function frameEnd(view: DataView, at: number): number {
  const { blocksAt, blockLimit, hasChecksum } = frameHeader(view, at)
  let block = blocksAt
  for (;;) {
    within(view, block + 3)
    const word = view.getUint16(block, true) | (view.getUint8(block + 2) << 16)
    const type = (word >>> 1) & 3
    const size = word >>> 3
    if (type === 3 || size > blockLimit) throw new Error('a zstd block is not valid')
    block = within(view, block + 3 + (type === 1 ? 1 : size))
    if (word & 1) return within(view, block + (hasChecksum ? 4 : 0))
  }
}

function frameHeader(
  view: DataView,
  at: number,
): { blocksAt: number; blockLimit: number; hasChecksum: boolean } {
  within(view, at + 6)
  if (view.getUint32(at, true) !== FRAME_MAGIC) throw new Error('not a zstd frame')
  const flags = view.getUint8(at + 4)
  const isSingleSegment = (flags & 0x20) !== 0
  const windowLength = isSingleSegment ? 0 : 1
  const dictionaryLength = [0, 1, 2, 4][flags & 3] ?? 0
  const sizeLength = [isSingleSegment ? 1 : 0, 2, 4, 8][flags >>> 6] ?? 0
  const sizeAt = at + 5 + windowLength + dictionaryLength
  const blocksAt = within(view, sizeAt + sizeLength)
  if (flags & 8) throw new Error('a reserved bit of a zstd frame is set')
  for (let index = sizeAt - dictionaryLength; index < sizeAt; index++) {
    if (view.getUint8(index) !== 0) throw new Error('a zstd frame needs a dictionary')
  }
  const window = isSingleSegment ? contentSize(view, sizeAt, sizeLength) : windowSize(view.getUint8(at + 5))
  if (window > MAX_WINDOW) throw new Error(`a zstd frame needs a window of ${window} bytes`)
  return { blocksAt, blockLimit: Math.min(window, MAX_BLOCK), hasChecksum: (flags & 4) !== 0 }
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >>> 3))
  return base + (base / 8) * (descriptor & 7)
}

function contentSize(view: DataView, at: number, length: number): number {
  if (length === 1) return view.getUint8(at)
  if (length === 2) return view.getUint16(at, true) + 256
  return length === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true))
}
