import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { createIngest } from '#data/disk/ingest-runner.ts'
import type { Ingest } from '#data/disk/ingest-types.ts'
import { ownSource } from '#data/disk/own-source.fixtures.ts'
import { openDisk } from '#data/form/disk-reader.ts'
import { recogniseCompression } from '#data/format/probe-compression.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { lzma2Stored, xzStream } from '../support/compressed-streams.ts'
import { createRandom } from '../support/random-disk.ts'
import { below, pick } from './mutation.ts'
import { makeQcow2, qcow2Fields, readQcow2 } from './qcow2-target.ts'
import { gzipTarget, lz4Target, xzTarget, zstdTarget } from './stream-targets.ts'
import type { Random, Target } from './target.ts'

/** What the other readers of the fuzzer take, too. */
const LIMITS = { ...DEFAULT_LIMITS, virtualSize: 8 * MiB, sourceSize: 4 * MiB }
/** Registrations after which a store is begun anew, for they add to it. */
const STORE_CASES = 200
const STREAMS = { gzip: gzipTarget, lz4: lz4Target, xz: xzTarget, zstd: zstdTarget } as const

/** A library's data plane: imports inputs, and reads back what became of them. */
class Importer {
  readonly #folder: string
  readonly #ingest: Ingest
  cases = 0

  constructor(folder: string) {
    this.#folder = folder
    this.#ingest = createIngest({
      storePlace: join(folder, 'store'),
      spoolDirectory: join(folder, 'spool'),
      threads: 2,
    })
  }

  async import(input: Uint8Array): Promise<Uint8Array> {
    this.cases++
    try {
      const request = { source: ownSource(input), limits: LIMITS, allowSource: [] }
      const { manifest } = await this.#ingest(request, {
        onProgress() {},
        signal: new AbortController().signal,
      })
      return await this.#readBack(manifest)
    } finally {
      assert.deepEqual(await readdir(join(this.#folder, 'spool')), [], 'nothing stays in the spool')
    }
  }

  async #readBack(manifest: string): Promise<Uint8Array> {
    await using store = await openFilesystemStore(join(this.#folder, 'store'))
    await using disk = await openDisk(store, manifest)
    const pieces: Uint8Array[] = []
    for await (const piece of disk.stream(0, disk.size, new AbortController().signal))
      pieces.push(piece.slice())
    return Buffer.concat(pieces)
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true })
  }
}

let current: Importer | undefined

async function importer(): Promise<Importer> {
  if (current && current.cases < STORE_CASES) return current
  await current?.remove()
  const folder = await mkdtemp(join(tmpdir(), 'fuzz-import-'))
  await mkdir(join(folder, 'spool'))
  current = new Importer(folder)
  return current
}

/** What the readers make of it, one after the other on this thread. */
async function readDirectly(input: Uint8Array, random: Random): Promise<Uint8Array> {
  const found = recogniseCompression(input, true)
  const plain =
    found.kind === 'none' || found.kind === 'more' ? input : await STREAMS[found.kind].read(input, random)
  if (Buffer.from(plain.subarray(0, 4)).toString('latin1') === 'QFI\xfb') return await readQcow2(plain)
  return Buffer.concat([plain, Buffer.alloc(-plain.length & 511)])
}

function makeImage(random: Random): Uint8Array {
  const plain =
    random() < 0.8 ? makeQcow2(random) : Buffer.alloc(512 * (1 + below(2000, random)), below(256, random))
  const wraps: ((bytes: Uint8Array) => Uint8Array)[] = [
    (bytes) => bytes,
    (bytes) => bytes,
    gzipSync,
    zstdCompressSync,
    (bytes) => xzStream({ check: 0, blocks: [{ plain: bytes, data: lzma2Stored(bytes) }] }),
  ]
  return pick(wraps, random)(plain)
}

export const importTarget: Target = {
  name: 'import',
  cost: 50,
  // A qcow2 is read from its spool while the layer around it is still being decoded.
  isConcurrent: true,
  seeds: () => Array.from({ length: 4 }, (_, seed) => makeImage(createRandom(seed))),
  make: makeImage,
  fields: (input) => (input[0] === 0x51 ? qcow2Fields(input) : []),
  async read(input, random) {
    const imported = await (await importer()).import(input).catch((error: unknown) => error)
    if (imported instanceof Error && !(imported instanceof LibraryError)) throw imported
    // An import refuses more, a disk inside a disk for one.
    if (!(imported instanceof Uint8Array)) throw imported
    const direct = await readDirectly(input, random)
    assert.ok(Buffer.compare(imported, direct) === 0, 'what is stored is not what was read')
    return imported
  },
  async close() {
    await current?.remove()
    current = undefined
  },
}
