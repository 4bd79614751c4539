// AssemblyScript, not TypeScript: `npm run codec` builds ../codec.wasm from here.
export { compress, decompress } from './lz4'
export { xxh32, xxh32Finish, xxh32Start, xxh32Update } from './xxh32'
export { isZero } from './zero'
