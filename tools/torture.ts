/**
 * `npm run torture`: every attack of test/torture in turn, with other seeds each time, until the minutes are over or
 * the library did wrong. The last line sums up; the exit status is 1 where something was wrong.
 *
 *     npm run torture                       30 minutes
 *     npm run torture -- --minutes 480
 *     npm run torture -- --short            each once, briefly
 *     SEED=7 npm run torture -- --only racing
 */
import { randomInt } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Attack, Counted } from '../test/torture/attack.ts'
import { endProcesses, watchLeftovers } from '../test/torture/leftovers.ts'
import { type RunResult, runAttacks, type Wrong } from '../test/torture/run-attacks.ts'

/** Each is in a file of its own name in test/torture. */
const NAMES = ['oddServers', 'faults', 'fuzz', 'bitRot', 'rights', 'racing', 'kills'] as const
const COUNTED: readonly Counted[] = [
  'registrations',
  'kills',
  'faults',
  'bad servers',
  'fuzz cases',
  'combinations of rights',
  'damaged blocks',
  'racing clients',
]
const MINUTE_MS = 60_000

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '30' },
    only: { type: 'string' },
  },
})
const minutes = Number(values.minutes)
if (!(minutes > 0)) throw new Error('--minutes is a number above 0')
const seed = process.env.SEED === undefined ? randomInt(2 ** 32) : Number(process.env.SEED)
if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) throw new Error('SEED is a number below 2^32')

/** What everything of this run is made in: attacks, and programs they start, ask for TMPDIR. */
const folder = mkdtempSync(join(tmpdir(), 'torture-'))
process.env.TMPDIR = folder
let isWorthKeeping = false
process.on('exit', () => {
  if (!isWorthKeeping) rmSync(folder, { recursive: true, force: true })
})

const say = (line: string) => console.log(line)
const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // Whoever asks twice does not want to wait.
    if (stop.signal.aborted) process.exit(130)
    say('ending …')
    stop.abort()
  })
}

async function loadAttacks(): Promise<Attack[]> {
  const attacks: Attack[] = []
  for (const name of NAMES) {
    const file = new URL(`../test/torture/${kebab(name)}.ts`, import.meta.url)
    if (!existsSync(file)) continue
    const module: Record<string, Attack | undefined> = await import(file.href)
    const attack = module[name]
    if (!attack) throw new Error(`test/torture/${kebab(name)}.ts exports no ${name}`)
    attacks.push(attack)
  }
  return attacks
}
const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
const plain = (name: string) => name.toLowerCase().replace(/[^a-z]/g, '')

const all = await loadAttacks()
const { only } = values
const attacks = only === undefined ? all : all.filter(({ name }) => plain(name) === plain(only))
if (attacks.length === 0) throw new Error(`--only is one of ${all.map(({ name }) => `"${name}"`).join(', ')}`)

// What nobody caught is a wrong outcome of the attack that runs.
const uncaught = new Promise<never>((_resolve, reject) => {
  process.on('uncaughtException', reject)
  process.on('unhandledRejection', reject)
})
const ours = (attack: Attack): Attack => ({
  name: attack.name,
  run: (round) => Promise.race([attack.run(round), uncaught]),
})

/** So long that most rounds come to their end, and so short that each attack gets its turn. */
const turnMs = Math.max(2 * MINUTE_MS, Math.min(5 * MINUTE_MS, (minutes * MINUTE_MS) / attacks.length))

const words = values.short ? 'each once, briefly' : `for ${minutes} min`
say(`${attacks.map(({ name }) => name).join(', ')}: ${words}; SEED=${seed}`)
const result = await runAttacks({
  attacks: attacks.map(ours),
  seed,
  short: values.short,
  limitMs: minutes * MINUTE_MS,
  roundMs: values.short ? 3 * MINUTE_MS : turnMs,
  // Steps that heed no signal take their time where the machine is busy; what hangs is found all the same.
  graceMs: 5 * MINUTE_MS,
  signal: stop.signal,
  say,
  leftovers: watchLeftovers(folder),
})
await endProcesses(folder)
if (result.wrong) tellWrong(result.wrong)
say(summaryOf(result))
process.exit(result.wrong ? 1 : 0)

function tellWrong({ attack, seed, error }: Wrong): void {
  isWorthKeeping = true
  console.error(`\nWRONG: ${attack}:`, error)
  const form = values.short ? ' --short' : ''
  say(`\nTo repeat it: SEED=${seed} npm run torture -- --only '${attack}'${form}`)
  say(`What it left is in ${folder}`)
}

function summaryOf({ rounds, counts, wrong, ms }: RunResult): string {
  const sums = COUNTED.map((what) => `${(counts.get(what) ?? 0).toLocaleString('en')} ${what}`).join(', ')
  const time = ms < 2 * MINUTE_MS ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / MINUTE_MS)} min`
  const outcome = wrong ? `WRONG in ${wrong.attack}` : 'no wrong outcome'
  return `${outcome}: ${rounds} rounds in ${time}${stop.signal.aborted ? ', broken off' : ''}: ${sums}`
}
