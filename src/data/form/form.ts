import { type Manifest, openManifest } from '#data/manifest/manifest.ts'
import type { Digest, Store } from '#data/store/store.ts'
import { type BlockLoader, directLoader } from './disk-blocks.ts'
import { rawLayout } from './disk-reader.ts'
import { lz4Layout } from './lz4-form.ts'
import { type Layout, readPieces } from './pieces.ts'
import { qcow2Layout } from './qcow2-form.ts'

/** The forms that a disk can be read in; see docs/design.md "Forms". */
export const FORM_KINDS = ['lz4', 'raw', 'qcow2'] as const
export type FormKind = (typeof FORM_KINDS)[number]

/** Raised with every change of a form's bytes, so that no cache mixes old and new. */
const FORM_VERSION = 1

const SHAPES = {
  lz4: { contentType: 'application/x-lz4', fileSuffix: '.lz4' },
  raw: { contentType: 'application/octet-stream', fileSuffix: '.raw' },
  qcow2: { contentType: 'application/x-qcow2', fileSuffix: '.qcow2' },
} as const

/** A disk as a file in one of its forms; the same bytes for ever. */
export interface Form extends AsyncDisposable {
  /** Bytes, exactly. */
  readonly size: number
  /** Strong, with its quotes. */
  readonly etag: string
  readonly contentType: string
  /** With its dot. */
  readonly fileSuffix: string
  /**
   * Reads any range in parts of at most 1 MiB and a little, to be read only, while the next one is loading. A part is
   * valid until the next one is asked for.
   * @throws corrupt, not_found, unavailable, or the signal's reason
   */
  read(offset: number, length: number, signal: AbortSignal): AsyncGenerator<Uint8Array>
}

/**
 * Opens a disk in one of its forms. Whoever does sees to it that collection knows of the manifest while it is open.
 * @param loader where blocks are fetched and decoded, by default in this thread
 * @throws not_found, corrupt; invalid where qcow2 cannot hold a disk of that size
 */
export async function openForm(
  store: Store,
  digest: Digest,
  kind: FormKind,
  loader: BlockLoader = directLoader(store.blocks),
): Promise<Form> {
  const layout = await openLayout(store, digest, kind, loader)
  return {
    size: layout.size,
    etag: `"${kind}-${FORM_VERSION}-${digest}"`,
    ...SHAPES[kind],
    read: (offset, length, signal) => readPieces(layout, offset, length, signal),
    [Symbol.asyncDispose]: () => layout[Symbol.asyncDispose](),
  }
}

/** As `openForm`, for those who put several files together. */
export async function openLayout(
  store: Store,
  digest: Digest,
  kind: FormKind,
  loader: BlockLoader,
): Promise<Layout & AsyncDisposable> {
  await using opening = new AsyncDisposableStack()
  const manifest = opening.use(await openManifest(store.manifests, digest))
  const layout = await layOut(manifest, loader, kind)
  const closing = opening.move()
  return { ...layout, [Symbol.asyncDispose]: () => closing.disposeAsync() }
}

async function layOut(manifest: Manifest, loader: BlockLoader, kind: FormKind): Promise<Layout> {
  switch (kind) {
    case 'lz4':
      return lz4Layout(manifest, loader)
    case 'raw':
      return rawLayout(manifest, loader)
    case 'qcow2':
      return qcow2Layout(manifest, loader)
  }
}
