/** Fills a base as a process that a test can kill: STORE MANIFEST PATH RATE; says how far it is, a line each time. */
import { directLoader } from '#data/form/disk-blocks.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { createReserve } from '#data/store/reserve.ts'
import { fillBase } from './fill-base.ts'

const [directory = '', manifest = '', path = '', rate = ''] = process.argv.slice(2)
await using store = await openFilesystemStore(directory)
await fillBase({
  manifests: store.manifests,
  loader: directLoader(store.blocks),
  manifest,
  path,
  rate: Number(rate),
  reserve: createReserve({ directory, bytes: undefined }),
  onProgress: (done) => process.stdout.write(`${done}\n`),
  signal: new AbortController().signal,
})
