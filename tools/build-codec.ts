// Builds the modules of src/data/codec; with --check, says whether the committed files are what their sources give.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FOLDER = 'src/data/codec'

// 32,767 pages are 64 KiB less than 2 GiB, the most that a memory may have: no address sum can wrap.
const FLAGS =
  '-O3 --noAssert --runtime stub --importMemory --noExportMemory --initialMemory 1 --maximumMemory 32767' +
  ' --enable bulk-memory --enable simd'

/** Each module, by the name of its source and result, with the flags that are its own. */
const MODULES = { codec: '--sharedMemory --enable threads', lzma: '' } as const
type ModuleName = keyof typeof MODULES

/** Compiles a module; the same source and compiler give the same bytes. */
export async function buildCodec(name: ModuleName): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'codec-'))
  try {
    const output = join(folder, 'module.wasm')
    const compiler = join(ROOT, 'node_modules/assemblyscript/bin/asc.js')
    const flags = `${FLAGS} ${MODULES[name]}`.trim().split(' ')
    const args = [compiler, `${FOLDER}/assembly/${name}.ts`, '-o', output, ...flags]
    await promisify(execFile)(process.execPath, args, { cwd: ROOT })
    return await readFile(output)
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function main(): Promise<void> {
  for (const name of Object.keys(MODULES) as ModuleName[]) {
    const built = await buildCodec(name)
    const path = `${FOLDER}/${name}.wasm`
    const target = join(ROOT, path)
    if (!process.argv.includes('--check')) {
      await writeFile(`${target}.new`, built)
      await rename(`${target}.new`, target)
      console.log(`${path}: ${built.length} bytes`)
    } else if (Buffer.compare(built, await readFile(target)) !== 0) {
      console.error(`${path} is not what its source gives: run "npm run codec"`)
      process.exitCode = 1
    }
  }
}

if (import.meta.main) await main()
