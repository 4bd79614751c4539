import { inflateRawSync } from 'node:zlib'
import type { Qcow2Compression } from './header.ts'
import { badCluster, endsBeforeCluster } from './refusals.ts'
import { decodeZstdCluster } from './zstd-cluster.ts'

/** A decoded cluster. */
export interface DecodedCluster {
  /** Exactly one cluster, the caller's own. */
  readonly bytes: Uint8Array
  /** Bytes of the input that belong to the stream, at least 1; what follows is somebody else's. */
  readonly consumed: number
}

/**
 * Decodes one compressed cluster. Pure and synchronous, for use in worker threads; takes memory for one cluster and
 * a window of at most 8 MiB, whatever the stream claims.
 * @param input the bytes from the extent's `hostOffset` on: `hostLength` of them, fewer only where the file ends
 * @param offset of the cluster on the virtual disk, for the message
 * @throws Refusal truncated where there is no input at all; bad-cluster where the stream is broken, cut, or gives
 *   anything but exactly one cluster
 * @see QEMU docs/interop/qcow2.txt, "Compressed Clusters Descriptor"
 */
export function decodeCluster(
  input: Uint8Array,
  options: {
    readonly clusterSize: number
    readonly compression: Qcow2Compression
    readonly offset: number
  },
): DecodedCluster {
  const { clusterSize, compression, offset } = options
  if (input.length === 0) throw endsBeforeCluster(offset)
  try {
    const decoded =
      compression === 'zstd' ? decodeZstdCluster(input, clusterSize) : inflate(input, clusterSize)
    if (decoded.bytes.length === clusterSize) return decoded
  } catch (cause) {
    throw badCluster(offset, cause)
  }
  throw badCluster(offset)
}

function inflate(input: Uint8Array, clusterSize: number): DecodedCluster {
  // The output buffer is the window: with a smaller chunk, matches that reach further back than it would fail.
  const limits = { windowBits: 15, chunkSize: clusterSize, maxOutputLength: clusterSize }
  const { buffer, engine } = withInfo(inflateRawSync(input, { ...limits, info: true }))
  return { bytes: buffer, consumed: engine.bytesWritten }
}

interface Inflated {
  readonly buffer: Uint8Array
  readonly engine: { readonly bytesWritten: number }
}

/** The types of Node do not know what `info: true` returns. */
function withInfo(result: unknown): Inflated {
  return result as Inflated
}
