import type { ContentStore } from '#data/content/content.ts'
import type { Handle } from './open-handles.ts'
import { failure } from './sftp-failure.ts'
import type { StagedFile } from './staged-file.ts'

/** Bytes of a file being written that are copied at a time. */
const PIECE = 1024 * 1024

export interface CopyRequest {
  readonly from: Handle
  readonly offset: number
  /** 0 for all that follows. */
  readonly length: number
  readonly to: StagedFile
  readonly target: number
  readonly contents: ContentStore
  readonly signal: AbortSignal
}

/** From one open file to another, as `copy-data` asks for it. */
export async function copyData(request: CopyRequest): Promise<void> {
  const { from, offset, length, to, target } = request
  if (from.kind === 'directory') throw failure('Is a directory')
  const size = from.kind === 'read' ? from.reader.size : from.stage.size
  const end = length === 0 ? size : Math.min(size, offset + length)
  if (from.kind === 'stage' && from.stage === to) throw failure('cannot copy a file onto itself')
  let at = offset
  for await (const chunk of chunksOf(request, end)) {
    await to.write(target + at - offset, chunk)
    at += chunk.length
  }
}

async function* chunksOf({ from, offset, contents, signal }: CopyRequest, end: number) {
  if (from.kind === 'read') {
    // Reads of the handle itself go on beside it.
    await using reader = await contents.openReader(from.located.parts)
    if (end > offset) yield* reader.read(offset, end - offset, signal)
  } else if (from.kind === 'stage') {
    for (let at = offset; at < end; at += PIECE) {
      signal.throwIfAborted()
      yield await from.stage.read(at, Math.min(PIECE, end - at))
    }
  }
}
