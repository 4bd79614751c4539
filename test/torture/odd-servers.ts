import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { KiB, MiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS, type ImportLimits } from '#base/limits.ts'
import { type Imports, openImports } from '../support/imports.ts'
import { ODD, type Odd, type OddServer, type Step, startOddServer } from '../support/odd-server.ts'
import { createRandom, fillLikeDisk } from '../support/random-disk.ts'
import { redirect } from '../support/web-server.ts'
import type { Attack } from './attack.ts'

const LIMITS: ImportLimits = {
  ...DEFAULT_LIMITS,
  sourceSize: 4 * MiB,
  virtualSize: 4 * MiB,
  headersMs: 1500,
  silenceMs: 400,
  slowWindowMs: 2000,
  resumes: 6,
}
/** However busy the machine is. */
const BOUND_MS = 300_000
const SECTOR = 512
const STEPS = 6

/** They lie about where a raw disk ends, and nothing in it tells otherwise; a compressed one has an end of its own. */
const LIES_ABOUT_END: ReadonlySet<Odd> = new Set(['lengthShort', 'cutNoLength'])
/** They only keep the network busy until a time is over: one in a while is enough. */
const FLOODS: ReadonlySet<Odd> = new Set(['chunkExtension', 'hintsForEver', 'trailerFlood', 'headEndless'])
/** What bytes that are no image, or not all of it, are refused with. */
const CODES = [
  'source',
  'too-large',
  'not-an-image',
  'empty',
  'truncated',
  'bad-stream',
  'nested',
  'checksum',
]

interface Tried {
  readonly server: OddServer
  readonly url: string
  readonly script: readonly string[]
  readonly id: string
  readonly sha256: string
}

/** Servers that do one odd thing after another, with a good disk behind: it arrives whole, or not at all. */
export const oddServers: Attack = {
  name: 'odd servers',
  async run({ random, short, signal, count, say }) {
    await using opened = new AsyncDisposableStack()
    const imports = opened.use(await openImports(LIMITS, 4))
    const tried: Tried[] = []
    for (let number = 0; number < (short ? 16 : 60) && !signal.aborted; number++) {
      const one = await begin(imports, createRandom(random() * 2 ** 32))
      opened.use(one.server)
      tried.push(one)
    }
    if (!(await settled(imports, signal))) return
    let available = 0
    for (const one of tried) if (await judge(imports, one)) available++
    say(`${tried.length} odd servers: ${available} images whole, ${tried.length - available} refused`)
    count('registrations', tried.length)
    count('bad servers', tried.length)
    for (const { server, script } of tried) assert.equal(server.open(), 0, `left open: ${script.join(', ')}`)
    await imports.assertNothingLeft()
  },
}

/** One server with its own disk and whims, and a registration from it. */
async function begin(imports: Imports, random: () => number): Promise<Tried> {
  const disk = Buffer.alloc(SECTOR * (2 + Math.floor(random() * 2 * KiB)))
  // Text at the very start might be taken for a page.
  fillLikeDisk(disk.subarray(SECTOR), random)
  const isCompressed = random() < 0.5
  const content = isCompressed ? gzipSync(disk, { level: 1 }) : disk
  const cut = () => Math.floor(random() * content.length)
  const server = await startOddServer({ content, etag: `"${Math.floor(random() * 1e9)}"`, cut })
  const draw = () => drawStep(random, isCompressed)
  const steps = Array.from({ length: Math.floor(random() * STEPS) }, draw)
  const script: [Step, ...Step[]] = [draw(), ...steps]
  if (random() < 0.6) script.push('good')
  const url = server.url(...script)
  const sha256 = createHash('sha256').update(disk).digest('hex')
  const names = script.map((step) => (typeof step === 'string' ? step : 'redirect'))
  return { server, url, script: names, id: await imports.register(url), sha256 }
}

function drawStep(random: () => number, isCompressed: boolean): Step {
  for (;;) {
    // Most of the time what may pass, or each script would end with its first step.
    if (random() < 0.1) return redirect('?again')
    const names = random() < 0.6 ? PASSING : NAMES
    const name = names[Math.floor(random() * names.length)] ?? 'good'
    if (LIES_ABOUT_END.has(name) && !isCompressed) continue
    if (FLOODS.has(name) && random() < 0.8) continue
    return name
  }
}

const NAMES = Object.keys(ODD) as Odd[]
const PASSING: readonly Odd[] = [
  'drop',
  'end',
  'stallInBody',
  'dropOldDate',
  'dropNoValidator',
  'chunkCut',
  'reset',
  'closeAtOnce',
  'closeInHead',
  'closeAfterHead',
  'resumeIgnored',
  'resumeRefused',
  'resumeWhole',
  'resumeLies',
  'resumeLater',
  'resumeOtherEtag',
  'stallBeforeHead',
  'noRanges',
]

/** @returns whether the image arrived */
async function judge(imports: Imports, { id, script, sha256, server, url }: Tried): Promise<boolean> {
  const image = await imports.show(id)
  const what = `${script.join(', ')} (asked ${server.asked(url)} times): ${JSON.stringify(image.failure)}`
  if (image.status === 'available') {
    assert.equal(await imports.digest(image), sha256, `other bytes: ${what}`)
    return true
  }
  assert.equal(image.status, 'failed', what)
  assert.ok(CODES.includes(image.failure?.code ?? ''), what)
  assert.ok(image.failure?.message && image.failure.hint, what)
  return false
}

/** @returns false where the run is to end before they do */
async function settled(imports: Imports, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  const onAbort = () => resolve(false)
  const stuck = new assert.AssertionError({ message: `registrations do not end within ${BOUND_MS} ms` })
  const timer = setTimeout(() => reject(stuck), BOUND_MS)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  imports.settle().then(() => resolve(true), reject)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}
