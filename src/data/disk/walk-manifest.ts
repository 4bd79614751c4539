import { openManifest } from '#data/manifest/manifest.ts'
import type { ManifestEntry } from '#data/manifest/page.ts'
import type { Digest, ManifestStore } from '#data/store/store.ts'

/**
 * The blocks that a manifest names, in order, those of zeros left out. All of it is verified on the way.
 * @throws not_found, corrupt
 */
export async function* walkManifest(
  manifests: ManifestStore,
  digest: Digest,
  signal: AbortSignal,
): AsyncGenerator<ManifestEntry> {
  await using manifest = await openManifest(manifests, digest)
  for await (const entry of manifest.entries()) {
    signal.throwIfAborted()
    yield entry
  }
}
