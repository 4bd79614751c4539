import type { Manifest } from '#data/manifest/manifest.ts'
import { type BlockLoader, blocksFrom, loadStored } from './disk-blocks.ts'
import { frameEnd, frameHeader } from './lz4-frame.ts'
import type { Layout } from './pieces.ts'

/** The disk as an LZ4 frame: its blocks as they are stored, one behind the other. */
export function lz4Layout(manifest: Manifest, loader: BlockLoader): Layout {
  const header = frameHeader(manifest.diskSize)
  const end = frameEnd()
  const endOffset = header.length + manifest.storedSize
  return {
    size: endOffset + end.length,
    async *pieces(from) {
      if (from < header.length) yield { offset: 0, length: header.length, load: () => header }
      if (from < endOffset && manifest.storedSize > 0) {
        const first = await manifest.findStored(Math.max(0, from - header.length))
        let offset = header.length + first.storedOffset
        for await (const block of blocksFrom(manifest, first.index)) {
          yield { offset, length: block.storedLength, load: (signal) => loadStored(loader, block, signal) }
          offset += block.storedLength
        }
      }
      yield { offset: endOffset, length: end.length, load: () => end }
    },
  }
}
