// AssemblyScript, not TypeScript: `npm run codec` builds ../lzma.wasm from here.
export { crc64, initCrc64 } from './crc64'
export { decodeChunk, resetState } from './lzma2'
