/**
 * Runs the tests: `run-tests.ts` all of them, `run-tests.ts unit` those beside the sources.
 * Tools that tests drive and the machine lacks are installed from Debian when that is possible, else named.
 * With CI=true a skipped test is a failure.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { glob } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

const PACKAGES: Record<string, string> = {
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  lz4: 'lz4',
  xz: 'xz-utils',
  zstd: 'zstd',
  gzip: 'gzip',
  curl: 'curl',
  python3: 'python3',
}

function isInstalled(tool: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function installTools(): void {
  const missing = Object.keys(PACKAGES).filter((tool) => !isInstalled(tool))
  if (missing.length === 0) return
  const packages = [...new Set(missing.map((tool) => PACKAGES[tool] ?? tool))]
  const line = `apt-get install -y --no-install-recommends ${packages.join(' ')}`
  if (process.getuid?.() === 0 && isInstalled('apt-get')) {
    console.log(`installing what the tests drive: ${packages.join(' ')}`)
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    spawnSync('apt-get', ['update', '-qq'], { stdio: 'inherit', env })
    spawnSync('sh', ['-c', line], { stdio: 'inherit', env })
  } else {
    console.log(`some tests will be skipped; to run them all: sudo ${line}`)
  }
}

const unitOnly = process.argv[2] === 'unit'
const named = process.argv.slice(2).filter((word) => word !== 'unit')
const patterns = unitOnly
  ? ['src/**/*.test.ts', 'test/tidy.test.ts']
  : ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts']
if (!unitOnly) installTools()
const files = named.length > 0 ? named : (await Array.fromAsync(glob(patterns))).sort()

let failed = 0
let skipped = 0
const stream = run({ files, concurrency: 2, timeout: 15 * 60_000 })
stream.on('test:fail', (event) => {
  if (event.todo === undefined) failed++
})
stream.on('test:pass', (event) => {
  if (event.skip !== undefined) skipped++
})
// compose() is what node:test offers to reporters; pipeline would wait for stdout to close.
stream.compose(spec).pipe(process.stdout)
stream.on('end', () => {
  if (failed > 0) process.exitCode = 1
  if (skipped > 0 && process.env.CI === 'true') {
    console.error(`${skipped} tests were skipped, which CI does not accept`)
    process.exitCode = 1
  }
})
