// Builds src/data/codec/codec.wasm; with --check, says whether the committed file is what its source gives.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const SOURCE = 'src/data/codec/assembly/codec.ts'
const TARGET = join(ROOT, 'src/data/codec/codec.wasm')

// 32,767 pages are 64 KiB less than 2 GiB, the most that createCodecMemory makes: no address sum can wrap.
const FLAGS =
  '-O3 --noAssert --runtime stub --importMemory --noExportMemory --sharedMemory --initialMemory 1 --maximumMemory 32767' +
  ' --enable bulk-memory --enable simd --enable threads'

/** Compiles the codec; the same source and compiler give the same bytes. */
export async function buildCodec(): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'codec-'))
  try {
    const output = join(folder, 'codec.wasm')
    const compiler = join(ROOT, 'node_modules/assemblyscript/bin/asc.js')
    const args = [compiler, SOURCE, '-o', output, ...FLAGS.split(' ')]
    await promisify(execFile)(process.execPath, args, { cwd: ROOT })
    return await readFile(output)
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function main(): Promise<void> {
  const built = await buildCodec()
  if (process.argv.includes('--check')) {
    if (Buffer.compare(built, await readFile(TARGET)) === 0) return
    console.error('src/data/codec/codec.wasm is not what its source gives: run "npm run codec"')
    process.exitCode = 1
    return
  }
  await writeFile(`${TARGET}.new`, built)
  await rename(`${TARGET}.new`, TARGET)
  console.log(`src/data/codec/codec.wasm: ${built.length} bytes`)
}

if (import.meta.main) await main()
