/**
 * Lists the blocks of a disk from the library's own files, by docs/design.md "Manifests" and nothing else.
 *     node examples/read-manifest.ts data/store 72a5fa2e…
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

const [store = '', digest = ''] = process.argv.slice(2)
const bytes = await readFile(join(store, 'manifests', digest.slice(0, 2), digest))
const sha256 = (part: Uint8Array) => createHash('sha256').update(part).digest('hex')
const size = Number(bytes.readBigUInt64LE(16))
const blocks = Number(bytes.readBigUInt64LE(24))
const pages = bytes.readUInt32LE(52)
const root = bytes.subarray(0, 64 + 48 * pages)
if (root.toString('latin1', 0, 8) !== 'ImgLibMf' || sha256(root) !== digest)
  throw new Error('not this manifest')
console.log(`disk of ${size} bytes, ${blocks} blocks of 1 MiB`)

let at = root.length
for (let page = 0; page < pages; page++) {
  const expected = root.toString('hex', 64 + 48 * page, 64 + 48 * page + 32)
  if (/^0+$/.test(expected)) continue // Only zero blocks: the page is not there.
  const entries = Math.min(512, blocks - 512 * page)
  const bytesOfPage = bytes.subarray(at, at + 36 * entries)
  at += bytesOfPage.length
  if (sha256(bytesOfPage) !== expected) throw new Error(`page ${page} is damaged`)
  for (let entry = 0; entry < entries; entry++) {
    const atRest = bytesOfPage.readUInt32LE(36 * entry + 32)
    if (atRest === 0) continue // A zero block is listed and never stored.
    console.log(`${512 * page + entry} ${bytesOfPage.toString('hex', 36 * entry, 36 * entry + 32)} ${atRest}`)
  }
}
