/**
 * `node bench/orbit.ts [--rounds N] [--large MiB] [--transfer MiB] [--only WORD] [--folder DIR]`: Orbit in turn with a
 * real OpenStack Swift, where Debian's packages of it are installed; then a container of a million objects, and memory.
 */
import { mkdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Daemon, startDaemon } from '../test/support/daemon.ts'
import { firstUser } from '../test/support/orbit.ts'
import { type Contest, hold, printRow } from './contest.ts'
import { peakDuring, residentMiB } from './memory.ts'
import { fillContainer } from './million-objects.ts'
import { ask, logIn, quantile, repeat, type Side } from './object-client.ts'
import { missingSwift, startSwift } from './swift-node.ts'

const MiB = 1024 * 1024
const SMALL = 4096

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    large: { type: 'string', default: '1024' },
    transfer: { type: 'string', default: '128' },
    only: { type: 'string', default: '' },
    folder: { type: 'string', default: join(import.meta.dirname, '..', '.cache', 'bench') },
  },
})
const rounds = Number(values.rounds)
const large = Number(values.large)

/** One line of the table: the same work for either side, and what a second of it is worth. */
interface Line {
  readonly name: string
  readonly unit: string
  /** In units. */
  readonly amount: number
  readonly work: (side: Side) => Promise<unknown>
}

const requests = (
  name: string,
  count: number,
  connections: number,
  path: (index: number) => string,
): Line => ({
  name,
  unit: '/s',
  amount: count,
  work: (side) => repeat(side, { count, connections }, (index) => ({ method: 'GET', path: path(index) })),
})

const puts = (count: number, connections: number): Line => ({
  name: `PUT of 4 KiB, ${connections} connection${connections > 1 ? 's' : ''}`,
  unit: '/s',
  amount: count,
  work: (side) =>
    repeat(side, { count, connections }, (index) => ({
      method: 'PUT',
      path: `/small/put-${index}`,
      size: SMALL,
    })),
})

const LINES: readonly Line[] = [
  {
    name: `PUT of ${large} MiB`,
    unit: ' MiB/s',
    amount: large,
    work: (side) => ask(side, { method: 'PUT', path: '/large/one', size: large * MiB }),
  },
  {
    name: `GET of ${large} MiB`,
    unit: ' MiB/s',
    amount: large,
    work: (side) => ask(side, { method: 'GET', path: '/large/one' }),
  },
  requests('GET of 4 KiB, 1 connection', 2000, 1, (index) => `/small/get-${index % 100}`),
  requests('GET of 4 KiB, 16 connections', 4000, 16, (index) => `/small/get-${index % 100}`),
  puts(500, 1),
  puts(1000, 16),
  requests('JSON listing of 100 rows', 1000, 1, () => '/listed?format=json&limit=100'),
]

async function prepare(side: Side): Promise<void> {
  for (const path of ['/large', '/small', '/listed']) await ask(side, { method: 'PUT', path })
  await ask(side, { method: 'PUT', path: '/large/one', size: large * MiB })
  for (const name of ['/small/get', '/listed/row']) {
    const put = (index: number) => ({ method: 'PUT', path: `${name}-${index}`, size: SMALL })
    await repeat(side, { count: 100, connections: 4 }, put)
  }
}

const sideOf = async (daemon: Daemon): Promise<Side> => firstUser(daemon)

async function measure(ours: Side, theirs: Side | undefined): Promise<string[]> {
  const rows: string[] = []
  const timed = (line: Line, side: Side) => async () => {
    const began = performance.now()
    await line.work(side)
    return (performance.now() - began) / 1000
  }
  for (const line of LINES.filter(({ name }) => name.includes(values.only))) {
    const contest: Contest = {
      name: line.name,
      ours: timed(line, ours),
      theirs: theirs ? timed(line, theirs) : async () => Number.NaN,
    }
    await contest.ours()
    if (theirs) await contest.theirs()
    const verdict = await hold(contest, rounds)
    const rateOf = (seconds: number) => `${Math.round(line.amount / seconds)}${line.unit}`
    rows.push(printRow(line.name, verdict, rateOf))
  }
  return rows
}

/** Pages of a container of a million objects: from its begin, from anywhere, by prefix and with a delimiter. */
async function listMillion(data: string): Promise<string> {
  fillContainer(data, 1_000_000)
  await using daemon = await startDaemon({ data })
  const side = await sideOf(daemon)
  const marker = () => `d${Math.floor(Math.random() * 1000)}/${Math.floor(Math.random() * 1000)}`
  const queries: Record<string, () => string> = {
    'first 100': () => 'limit=100',
    '100 from anywhere': () => `limit=100&marker=${marker()}`,
    '100 by prefix': () => `limit=100&prefix=${marker().slice(0, 5)}`,
    '100 folders': () => `limit=100&delimiter=/&marker=${marker().split('/')[0]}/`,
    '100 backwards': () => `limit=100&reverse=on&marker=${marker()}`,
  }
  const lines: string[] = []
  for (const [name, query] of Object.entries(queries)) {
    const took = await repeat(side, { count: 400, connections: 1 }, () => ({
      method: 'GET',
      path: `/million?format=json&${query()}`,
    }))
    lines.push(`| ${name} | ${quantile(took, 0.5).toFixed(1)} | ${quantile(took, 0.99).toFixed(1)} |`)
  }
  return `\n| a page of a million objects | p50, ms | p99, ms |\n|---|---|---|\n${lines.join('\n')}`
}

/** 64 transfers at once, half of them up, half down. */
async function watchMemory(daemon: Daemon): Promise<string> {
  const side = await sideOf(daemon)
  const size = Number(values.transfer) * MiB
  await ask(side, { method: 'PUT', path: '/large/down', size })
  const before = residentMiB(daemon.process.pid ?? 0)
  const transfers = Array.from({ length: 64 }, (_, n) =>
    n % 2 === 0
      ? ask(side, { method: 'PUT', path: `/large/up-${n}`, size })
      : ask(side, { method: 'GET', path: '/large/down' }),
  )
  const peak = await peakDuring(daemon.process.pid ?? 0, Promise.all(transfers))
  return `\nmemory: ${before} MiB before, at most ${peak} MiB during 64 transfers of ${values.transfer} MiB at once`
}

mkdirSync(values.folder, { recursive: true })
const data = await mkdtemp(join(values.folder, 'orbit-'))
try {
  const missing = missingSwift()
  if (missing.length > 0) console.error(`without Swift to compare with; apt-get install ${missing.join(' ')}`)
  await using theirs = missing.length > 0 ? undefined : await startSwift(values.folder)
  const their = theirs && (await logIn(theirs.auth, theirs.user, theirs.key))
  {
    await using daemon = await startDaemon({ data })
    const ours = await sideOf(daemon)
    for (const side of their ? [ours, their] : [ours]) await prepare(side)
    const rows = await measure(ours, their)
    console.log(`${cpus().length} × ${cpus()[0]?.model}; Node ${process.version}\n`)
    console.log('| | Orbit | Swift 2.30 | |\n|---|---|---|---|')
    console.log(rows.join('\n'))
    if ('memory'.includes(values.only)) console.log(await watchMemory(daemon))
  }
  if ('million'.includes(values.only)) console.log(await listMillion(data))
} finally {
  await rm(data, { recursive: true, force: true })
}
