import type { ByteStream, RandomBytes } from '#base/bytes.ts'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { refuseNested } from '#data/format/probe.ts'
import type { Qcow2Extent } from '#data/format/qcow2/extents.ts'
import { openQcow2, type Qcow2 } from '#data/format/qcow2/qcow2.ts'
import { createSpool, type Spool } from '#data/source/spool.ts'
import type { IngestContext, IngestedDisk } from './ingest-context.ts'

interface FileSize {
  /** Bytes of the qcow2 file where the source told them. */
  readonly size: number | undefined
  /** The most that it may have. */
  readonly limit: number
}

/**
 * A qcow2: kept in a spool file while it arrives, and read from there at the same time, since its tables may point
 * anywhere. Decoding ends moments after the download does.
 * @throws Refusal
 */
export async function ingestQcow2(
  stream: ByteStream,
  file: FileSize,
  context: IngestContext,
): Promise<IngestedDisk> {
  const { limits, signal, spoolDirectory } = context
  await using spool = await createSpool({ directory: spoolDirectory, signal })
  const received = receive(stream, spool)
  // It may fail while blocks are waited for and not it; that it is awaited later would come too late.
  received.catch(() => {})
  try {
    const qcow2 = await openQcow2(withSize(spool.bytes, file.size), {
      virtualSizeLimit: limits.virtualSize,
      fileSizeLimit: file.limit,
      signal,
    })
    context.meter.virtualSize = qcow2.virtualSize
    await storeExtents(qcow2, spool, context)
    await received
    await context.pipeline.drain()
    await qcow2.finish()
    return { size: qcow2.virtualSize, notes: qcow2.notes }
  } catch (error) {
    context.stop(error)
    throw error
  } finally {
    await received.catch(() => {})
  }
}

/** A length that the source told is known before the last byte is there. */
function withSize(bytes: RandomBytes, size: number | undefined): RandomBytes {
  return size === undefined ? bytes : { size, readAt: (target, offset) => bytes.readAt(target, offset) }
}

/** Fills the spool; whoever waits for bytes learns of a fault in the stream. */
async function receive(stream: ByteStream, spool: Spool): Promise<void> {
  try {
    for await (const chunk of stream) await spool.write(chunk)
    await spool.end()
  } catch (error) {
    spool.fail(error)
    throw error
  }
}

/** Submits the disk region by region: one block, or one cluster where that is larger. */
async function storeExtents(qcow2: Qcow2, spool: Spool, { pipeline }: IngestContext): Promise<void> {
  const regionSize = Math.max(BLOCK_SIZE, qcow2.clusterSize)
  let gathered: Qcow2Extent[] = []
  let region = 0

  const submit = async () => {
    if (gathered.length === 0) return
    const extents = gathered
    gathered = []
    const offset = region * regionSize
    await spool.waitFor(Math.max(...extents.map(endInSpool)))
    await pipeline.submitSpool(
      {
        kind: 'spool',
        fd: spool.fd,
        offset,
        length: Math.min(regionSize, qcow2.virtualSize - offset),
        clusterSize: qcow2.clusterSize,
        extents,
        wantHead: region === 0,
      },
      ({ head, consumed = [] }) => {
        if (head) refuseNested(head)
        const compressed = extents.filter((extent) => extent.kind === 'compressed')
        for (const [index, extent] of compressed.entries()) qcow2.claimConsumed(extent, consumed[index] ?? 0)
      },
    )
  }

  for await (const extent of qcow2.extents()) {
    const its = Math.floor(extent.offset / regionSize)
    if (its !== region) {
      await submit()
      region = its
    }
    gathered.push(extent)
  }
  await submit()
}

function endInSpool(extent: Qcow2Extent): number {
  return extent.hostOffset + (extent.kind === 'plain' ? extent.length : extent.hostLength)
}
