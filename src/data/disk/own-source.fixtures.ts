import type { OwnSource } from './ingest-types.ts'

/** Bytes that come to us without a network, and are read. */
export const ownSource = (bytes: Uint8Array): OwnSource => ({
  kind: 'parts',
  parts: [{ content: { kind: 'inline', bytes }, offset: 0, length: bytes.length }],
  disk: undefined,
  url: undefined,
  etag: undefined,
  lastModified: undefined,
})
