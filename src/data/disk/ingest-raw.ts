import { boundOutput } from '#data/format/decode-options.ts'
import { HEAD_SIZE, recogniseContainer } from '#data/format/probe.ts'
import { DiskCutter } from './disk-cutter.ts'
import type { IngestContext, IngestedDisk, Layer } from './ingest-context.ts'
import { storeXzItems } from './xz-layer.ts'

/**
 * A raw disk: its bytes as they come, cut into blocks. What can only be told by the end is looked at there.
 * @throws Refusal
 */
export async function ingestRaw(
  layer: Layer,
  notes: readonly string[],
  context: IngestContext,
): Promise<IngestedDisk> {
  const { limits, pipeline, signal } = context
  const cutter = new DiskCutter(pipeline)
  if (layer.xzItems) await storeXzItems(layer.xzItems, cutter, context)
  else {
    for await (const chunk of boundOutput(layer.stream, { limit: limits.virtualSize, signal })) {
      await cutter.write(chunk)
    }
  }
  recogniseContainer(layer.head.subarray(0, HEAD_SIZE), cutter.tail)
  const length = cutter.position
  const size = await cutter.finish()
  if (size === length) return { size, notes }
  return {
    size,
    notes: [...notes, `The disk was padded with zeros from ${length} to ${size} bytes, a whole sector.`],
  }
}
