/**
 * Runs the tests: `run-tests.ts` all of them, `run-tests.ts unit` those beside the sources, `run-tests.ts large` those
 * of the whole library on PostgreSQL and S3, and `run-tests.ts FILE…` those files, or all in those folders.
 * Tools that tests drive and the machine lacks are installed from Debian when that is possible, else named.
 * With CI=true a skipped test is a failure.
 */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { glob } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fetchGuestParts, guestParts } from '../test/support/guest-parts.ts'
import { sharePostgres } from '../test/support/postgres.ts'
import { RADOSGW, shareRadosgw } from '../test/support/radosgw.ts'
import { isInstalled, missingPackages } from '../test/support/tools.ts'

/** For one test, so that it is named before its file is ended by limit-file.ts. */
const TEST_LIMIT_MS = 9 * 60_000
/** More of them make each of them slower: two processors are busy with two. */
const FILES_AT_ONCE = 2
const UNIT = ['src/**/*.test.ts', 'test/tidy.test.ts']
/** What a library does is the same whatever it stands on; these are run on both, the longest first. */
const LARGE = [
  ...['servers', 'formats', 'what-ends', 'orbit-registration', 'rights', 'orbit-model', 'nbd', 'uploads'],
  ...['swift-client', 'rclone', 'sftp', 'fair-registrations', 'metrics', 'secrets', 'command-line', 'drain'],
  'curl',
].map((name) => `test/acceptance/${name}.test.ts`)
/**
 * Of the acceptance tests, those that are not: BACKEND=large with the file's name runs one of the first lines, too.
 * - crash, odd-servers, servers-agent, servers-isolation, servers-limits, servers-network: they pass, and take long.
 * - corpus: it needs the corpus, and takes minutes.
 * - hostile-clients: who closes his half of a connection is answered only where that takes no time, as with SQLite.
 * - slow-uploads: its bounds of memory are those of a process without drivers of a database and an object store.
 * - orbit-crash: where there may be other processes, what a dead one was writing is kept for twelve hours.
 * - bit-rot, servers-repair, servers-faults, servers-broken-out, full-disk*: they damage, rename, watch or fill files.
 * - faults: a world of its own, without a daemon.
 * - large, large-faults, s3, moving: they choose what they stand on by themselves.
 */
const ALL = ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts']

/** Installs what is missing, or gives the line that would. */
function installTools(): string | undefined {
  const lineOf = (packages: readonly string[]) =>
    packages.length > 0 ? `apt-get install -y --no-install-recommends ${packages.join(' ')}` : undefined
  const line = lineOf(missingPackages())
  const maySetUp = process.getuid?.() === 0 && isInstalled('apt-get')
  const shell = (commands: string) => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    spawnSync('sh', ['-c', commands], { stdio: 'inherit', env })
  }
  if (maySetUp && (line || !guestParts())) shell('apt-get update -qq')
  if (maySetUp && line) {
    console.log(`installing what the tests drive: ${line}`)
    shell(line)
  }
  fetchGuest()
  return lineOf(missingPackages())
}

/** Without it, the tests that boot a guest are skipped. */
function fetchGuest(): void {
  try {
    fetchGuestParts()
  } catch (error) {
    console.log(`no kernel for the tests of servers: ${error instanceof Error ? error.message : error}`)
  }
}

async function filesOf(words: readonly string[]): Promise<string[]> {
  if (words.length === 0 || words[0] === 'unit') {
    return (await Array.fromAsync(glob(words.length === 0 ? ALL : UNIT))).sort()
  }
  const files: string[] = []
  for (const word of words) {
    const isFolder = statSync(word, { throwIfNoEntry: false })?.isDirectory()
    const found = await Array.fromAsync(glob(isFolder ? join(word, '**/*.test.ts') : word))
    if (found.length === 0) throw new Error(`there is no test in ${word}`)
    files.push(...found.sort())
  }
  return files
}

// Whatever ends this process before the last test was told is a failure too.
let isComplete = false
process.on('exit', (code) => {
  if (!isComplete && code === 0) process.exitCode = 1
})

const words = process.argv.slice(2)
const isAll = words.length === 0
const onlyLarge = words[0] === 'large'
const files = onlyLarge ? LARGE : await filesOf(words)
const line = installTools()
if (line) console.log(`some tests will be skipped; to run them all: sudo ${line}`)
const canBeLarge = isInstalled('postgres') && RADOSGW.every(isInstalled)
if (isInstalled('postgres') && files.length > 1) await sharePostgres()
if (RADOSGW.every(isInstalled) && files.length > 1) await shareRadosgw()

let failed = 0
const skipped: string[] = []

async function runFiles(some: readonly string[]): Promise<void> {
  const stream = run({
    files: [...some],
    concurrency: FILES_AT_ONCE,
    timeout: TEST_LIMIT_MS,
    execArgv: ['--import', new URL('limit-file.ts', import.meta.url).href],
  })
  stream.on('test:fail', (event) => {
    if (event.todo === undefined) failed++
  })
  stream.on('test:pass', ({ name, skip }) => {
    if (skip !== undefined) skipped.push(skip === true ? name : `${name}: ${skip}`)
  })
  // compose() is what node:test offers to reporters; pipeline would wait for stdout to close.
  const report = stream.compose(spec)
  report.pipe(process.stdout, { end: false })
  await once(report, 'end')
}

if (onlyLarge) process.env.BACKEND = 'large'
if (onlyLarge && !canBeLarge) skipped.push('the library on PostgreSQL and S3')
else await runFiles(files)
isComplete = true
if (failed > 0) process.exitCode = 1
if (skipped.length > 0) {
  console.error(`\n${skipped.length} skipped:\n  ${skipped.join('\n  ')}`)
  if (line) console.error(`to run them all: sudo ${line}`)
  if (process.env.CI === 'true') {
    console.error('with CI=true that is a failure')
    process.exitCode = 1
  }
}
if (isAll) {
  console.log('\nthe same library on PostgreSQL and S3:')
  const { status } = spawnSync(process.execPath, [import.meta.filename, 'large'], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}
