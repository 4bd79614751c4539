import type { Part } from '#base/content.ts'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { MAX_DISK_SIZE } from '#data/manifest/layout.ts'
import { openManifest } from '#data/manifest/manifest.ts'
import { ManifestWriter } from '#data/manifest/writer.ts'
import { StoredContent, type StoringDeps } from './stored-content.ts'

const SECTOR = 512

/** Puts the manifest of one disk that reads as these parts do; see `ContentStore.join`. */
export async function joinParts(
  deps: StoringDeps,
  parts: readonly Part[],
): Promise<{ manifest: string; size: number } | undefined> {
  const filled = parts.filter(({ length }) => length > 0)
  const size = filled.reduce((sum, { length }) => sum + length, 0)
  if (size === 0 || size % SECTOR > 0 || size > MAX_DISK_SIZE) return undefined
  if (!filled.every((part, index) => fits(part, index === filled.length - 1))) return undefined

  await using stored = new StoredContent(deps)
  await using manifest = new ManifestWriter({ directory: deps.spoolDirectory })
  let first = 0
  for (const part of filled) {
    await addPart({ deps, stored, manifest }, part, first)
    first += part.length / BLOCK_SIZE
  }
  const content = await stored.finish(manifest, size)
  return { manifest: content.manifest, size }
}

/** Whether the part consists of whole blocks of its content; only that at the end of a disk may be shorter. */
function fits(part: Part, isLast: boolean): boolean {
  const { content, length } = part
  if (!content || (!isLast && length % BLOCK_SIZE > 0)) return false
  if (content.kind === 'inline') return true
  const isWhole = length % BLOCK_SIZE === 0 || part.offset + length === content.size
  return content.form === 'raw' && part.offset % BLOCK_SIZE === 0 && isWhole
}

interface Joining {
  readonly deps: StoringDeps
  readonly stored: StoredContent
  readonly manifest: ManifestWriter
}

/** @param first the block of the disk that the part begins at */
async function addPart({ deps, stored, manifest }: Joining, part: Part, first: number): Promise<void> {
  const { content, length } = part
  if (!content) return
  if (content.kind === 'inline') {
    using room = deps.pool.room()
    room.bytes.set(content.bytes.subarray(part.offset, part.offset + length))
    const { signal } = new AbortController()
    const block = await stored.put({ room, length }, { signal })
    if (block) await manifest.set(first, block.digest, block.storedLength)
    return
  }
  await using source = await openManifest(deps.store.manifests, content.manifest)
  const skipped = part.offset / BLOCK_SIZE
  for await (const { index, digest, storedLength } of source.entries(skipped)) {
    if (index >= skipped + Math.ceil(length / BLOCK_SIZE)) break
    await manifest.set(first + index - skipped, digest, storedLength)
  }
}
