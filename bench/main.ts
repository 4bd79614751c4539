/**
 * `npm run bench -- [--rounds N] [--disk MiB] [--data MiB] [--only WORD] [--folder DIR]`: registers a disk over
 * loopback in every form, in turn with the pipeline that a system administrator would write for the same result, and
 * prints ratios. Without --only, orbit.ts, sftp.ts, nbd.ts, servers.ts and large.ts follow.
 */
import { spawnSync } from 'node:child_process'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startDaemon } from '../test/support/daemon.ts'
import { type Contest, hold, median } from './contest.ts'
import { makeBenchDisk } from './disk.ts'
import { type Measured, registerFresh, registerOnce, serveFolder, timeShell } from './registration.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    disk: { type: 'string', default: '2048' },
    data: { type: 'string', default: '1200' },
    only: { type: 'string', default: '' },
    folder: { type: 'string', default: join(import.meta.dirname, '..', '.cache', 'bench') },
  },
})

const disk = await makeBenchDisk(values.folder, Number(values.disk), Number(values.data))
using server = await serveFolder(disk.folder)
const seen: Measured[] = []

const HASH_AND_KEEP = 'tee >(openssl dgst -sha256 >sum) | lz4 -q > kept; sync'
const CONVERT_AND_KEEP =
  'qemu-img convert -O raw got raw; openssl dgst -sha256 raw >sum; lz4 -q raw kept; sync'
interface Pipeline {
  readonly file: string
  readonly command: (url: string) => string
  readonly name: string
  /** Why it cannot be run here, or false. */
  readonly unless?: (url: string) => string | false
}

const PIPELINES: Record<string, Pipeline> = {
  raw: {
    file: 'disk.raw',
    command: (url) => `curl -sf ${url} | ${HASH_AND_KEEP}`,
    name: 'curl | tee >(openssl) | lz4; sync',
  },
  lz4: {
    file: 'disk.raw.lz4',
    command: (url) => `curl -sf ${url} | lz4 -dc | ${HASH_AND_KEEP}`,
    name: 'curl | lz4 -dc | tee >(openssl) | lz4; sync',
  },
  qcow2: {
    file: 'disk.qcow2',
    command: (url) => `curl -sf -o got ${url}; ${CONVERT_AND_KEEP}`,
    name: 'curl -o; qemu-img convert; openssl; lz4; sync',
  },
  'raw, only fetched': {
    file: 'disk.raw',
    command: (url) => `qemu-img convert -m 1 -O raw ${url} kept; sync`,
    name: 'qemu-img convert -m 1 URL; sync, which hashes and compresses nothing',
    unless: (url) =>
      spawnSync('qemu-img', ['info', url]).status !== 0 && 'qemu-img cannot read URLs (qemu-block-extra)',
  },
  'qcow2 deflate': {
    file: 'disk-deflate.qcow2',
    command: (url) => `curl -sf -o got ${url}; ${CONVERT_AND_KEEP}`,
    name: 'the same',
  },
  'qcow2 zstd': {
    file: 'disk-zstd.qcow2',
    command: (url) => `curl -sf -o got ${url}; ${CONVERT_AND_KEEP}`,
    name: 'the same',
  },
  'xz, one block': {
    file: 'disk-single.raw.xz',
    command: (url) => `curl -sf ${url} | xz -dc >/dev/null`,
    name: 'curl | xz -dc >/dev/null',
  },
  'xz, many blocks': {
    file: 'disk-blocks.raw.xz',
    command: (url) => `curl -sf ${url} | xz -dc -T0 >/dev/null`,
    name: 'curl | xz -dc -T0 >/dev/null',
  },
}

const rows: string[] = []
for (const [name, { file, command, name: theirsName, unless }] of Object.entries(PIPELINES)) {
  if (!name.startsWith(values.only)) continue
  const url = server.url(file)
  const why = unless?.(url)
  if (why) {
    console.error(`${name}: left out, ${why}`)
    continue
  }
  const contest: Contest = {
    name,
    ours: async () => {
      const measured = await registerFresh(disk, url)
      seen.push(measured)
      return measured.seconds
    },
    theirs: () => timeShell(disk, command(url)),
  }
  const verdict = await hold(contest, Number(values.rounds))
  const [low, high] = verdict.spread
  rows.push(
    `| ${name} | ${verdict.ours.toFixed(2)} | ${verdict.theirs.toFixed(2)} | **${verdict.ratio.toFixed(2)}×** ` +
      `(${low.toFixed(2)}–${high.toFixed(2)}) | \`${theirsName}\` |`,
  )
}

console.log(
  `${cpus().length} × ${cpus()[0]?.model}; disk of ${disk.diskMiB} MiB, ${disk.dataMiB} MiB of it data; ` +
    `Node ${process.version}\n`,
)
console.log('| form | ours, s | theirs, s | how many times as fast | theirs |\n|---|---|---|---|---|')
console.log(rows.join('\n'))

await using daemon = await startDaemon()
const first = await registerOnce(daemon, server.url('disk.raw'))
const again = await registerOnce(daemon, server.url('disk.raw'))
console.log(`\nraw again, content known: ${again.seconds.toFixed(2)} s after ${first.seconds.toFixed(2)} s`)
const list = [...seen, first, again].flatMap(({ listMs }) => listMs).toSorted((a, b) => a - b)
const p99 = list[Math.floor(list.length * 0.99)] ?? 0
console.log(
  `GET /1.0/images meanwhile: median ${median(list).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms of ${list.length}`,
)
console.log(
  `largest resident size of the process: ${Math.max(...seen.map(({ peakMiB }) => peakMiB), first.peakMiB)} MiB`,
)

if (values.only === '') {
  const words = ['--rounds', values.rounds, '--folder', values.folder]
  for (const name of ['orbit.ts', 'sftp.ts', 'nbd.ts', 'servers.ts', 'large.ts']) {
    console.log(`\n# ${name}\n`)
    const bench = spawnSync(process.execPath, [join(import.meta.dirname, name), ...words], {
      stdio: 'inherit',
    })
    if (bench.status !== 0) process.exitCode = 1
  }
}
