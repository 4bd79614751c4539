import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { isRetryable } from '#control/jobs/retry.ts'
import { toFailure } from '#control/library/failure.ts'
import { BlockPipeline } from './block-pipeline.ts'
import type { Wrong } from './broken-thread.fixtures.ts'
import { createIngest } from './ingest-runner.ts'
import type { IngestSource } from './ingest-types.ts'
import { ownSource } from './own-source.fixtures.ts'
import { watchRunaway } from './runaway.ts'

const BROKEN = new URL('./broken-thread.fixtures.ts', import.meta.url)
const RUNAWAY_MS = 800

/** What a thread's end must come to: how it ends, and what its owner is told. */
const ENDS: readonly { readonly wrong: Wrong; readonly reason: RegExp; readonly code: string }[] = [
  { wrong: 'throws', reason: /a fault of a decoder/, code: 'internal' },
  { wrong: 'rejects', reason: /a fault of a decoder/, code: 'internal' },
  { wrong: 'exits', reason: /ended with code 0/, code: 'internal' },
  { wrong: 'exits with 1', reason: /ended with code 1/, code: 'internal' },
  { wrong: 'hoards', reason: /more memory/, code: 'memory-limit' },
  { wrong: 'loops', reason: /processor time and got nowhere/, code: 'internal' },
]

function assertTold(error: unknown, { reason, code }: { reason: RegExp; code: string }): void {
  assert.ok(error instanceof Error)
  assert.match(error.message, reason)
  const failure = toFailure(error)
  assert.equal(failure.code, code)
  assert.ok(failure.hint)
  assert.equal(isRetryable(error), false, 'the same bytes would do that again')
}

describe('isolation', () => {
  let folder: string
  let storePlace: string
  let spoolDirectory: string
  const disk = ownSource(randomBytes(8 * MiB))
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'isolation-'))
    ;[storePlace, spoolDirectory] = [join(folder, 'store'), join(folder, 'spool')]
    await mkdir(spoolDirectory)
  })
  after(() => rm(folder, { recursive: true, force: true }))

  const deaths: string[] = []
  /** What goes wrong is said as a URL. */
  const wrongly = (url: string) => ({ kind: 'http', url }) as const
  const runs = (source: IngestSource, { program, signal }: { program?: URL; signal?: AbortSignal } = {}) =>
    createIngest({
      onDeath: () => deaths.push(source.kind),
      storePlace,
      spoolDirectory,
      threads: 1,
      runawayMs: RUNAWAY_MS,
      ...(program ? { program } : {}),
    })(
      { source, limits: DEFAULT_LIMITS, allowSource: [] },
      { onProgress: () => {}, signal: signal ?? new AbortController().signal },
    )

  for (const end of [
    ...ENDS,
    { ...(ENDS.at(-1) as (typeof ENDS)[number]), wrong: 'loops and tells' as const },
  ])
    test(`a thread that ${end.wrong} costs its registration, with a reason, and no other`, async () => {
      const [broken, sound] = await Promise.allSettled([
        runs(wrongly(end.wrong), { program: BROKEN }),
        runs(disk),
      ])
      assert.ok(broken.status === 'rejected')
      assertTold(broken.reason, end)
      assert.equal(sound.status, 'fulfilled')
      // One that needs too much memory, or is ended for its loop, does not die by itself.
      const isOurs = /throws|rejects|exits/.test(end.wrong)
      assert.deepEqual(deaths.splice(0), isOurs ? ['http'] : [])
    })

  for (const end of ENDS)
    test(`a block worker that ${end.wrong} ends its registration with a reason`, async () => {
      const failed = Promise.withResolvers<unknown>()
      await using pipeline = new BlockPipeline({
        threads: 1,
        storePlace: end.wrong,
        writer: '',
        reserve: undefined,
        xzDictionary: MiB,
        decoders: '',
        onFinished: () => {},
        onFailure: failed.resolve,
        program: BROKEN,
        runawayMs: RUNAWAY_MS,
      })
      const slot = await pipeline.acquireSlot()
      pipeline.submitBlock(0, slot, MiB)
      await assert.rejects(pipeline.drain())
      const reason = end.wrong.startsWith('exits') ? /block worker ended with code/ : end.reason
      assertTold(await failed.promise, { ...end, reason })
    })

  test('a thread sees nothing of the process but what its registration needs', async () => {
    const [told] = await Promise.allSettled([runs(wrongly('tells all'), { program: BROKEN })])
    assert.ok(told.status === 'rejected')
    const { env, argv, execArgv, workerData } = JSON.parse(told.reason.message)
    assert.deepEqual(
      Object.keys(env).filter((name) => name !== 'NODE_COMPILE_CACHE'),
      [],
    )
    assert.equal(argv.length, 2, 'the program, and no arguments')
    assert.deepEqual(execArgv, process.execArgv)
    const known = ['decoders', 'request', 'spoolDirectory', 'storePlace', 'threads', 'writer']
    assert.deepEqual(Object.keys(workerData).sort(), known)
    assert.deepEqual(Object.keys(workerData.request).sort(), ['allowSource', 'limits', 'source'])
  })

  test('what a thread was writing when it was ended goes with it, and nothing of others', async () => {
    await runs(disk)
    const others = join(storePlace, 'temporary', 'of another')
    await writeFile(others, '')
    const stopping = new AbortController()
    const ingest = createIngest({ storePlace, spoolDirectory, threads: 1, program: BROKEN })
    const running = ingest(
      {
        source: wrongly('waits in the middle of a put'),
        limits: DEFAULT_LIMITS,
        allowSource: [],
      },
      {
        onProgress: () => {},
        admit: async () => stopping.abort(new Error('destroyed')),
        signal: stopping.signal,
      },
    )
    await assert.rejects(running, /destroyed/)
    assert.deepEqual(await readdir(join(storePlace, 'temporary')), ['of another'])
    await rm(others)
  })

  test('a registration that is cancelled at any moment leaves nothing half-written', async (t) => {
    for (let round = 0; round < 5; round++) {
      const wait = randomInt(600)
      const stopping = new AbortController()
      const large = ownSource(randomBytes(24 * MiB))
      setTimeout(() => stopping.abort(new Error('destroyed')), wait)
      await runs(large, { signal: stopping.signal }).catch((error) =>
        assert.match(error.message, /destroyed/),
      )
      assert.deepEqual(await readdir(join(storePlace, 'temporary')), [], `after ${wait} ms`)
      assert.deepEqual(await readdir(spoolDirectory), [], `after ${wait} ms`)
      t.diagnostic(`after ${wait} ms`)
    }
  })
})

describe('runaway', () => {
  /** A thread that has taken so many milliseconds whenever it is asked. */
  function watched(used: readonly number[]) {
    let asked = 0
    const { promise: all, resolve } = Promise.withResolvers<void>()
    let told = 0
    const watch = watchRunaway(
      {
        async cpuUsage() {
          if (asked === used.length) resolve()
          return { user: (used[asked++] ?? used.at(-1) ?? 0) * 1000, system: 0 }
        },
      },
      { limitMs: 48, onRunaway: () => told++ },
    )
    return { watch, all, told: () => told }
  }

  test('a thread that waits is none, however long', async () => {
    const { watch, all, told } = watched([10, 20, 30, 40, 40, 40, 40, 40, 57])
    using _watch = watch
    await all
    assert.equal(told(), 0)
  })

  test('a thread that computes without progress is told of once', async () => {
    const { watch, told } = watched([10, 200, 400])
    using _watch = watch
    while (told() === 0) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(told(), 1)
  })

  test('each progress gives it all its time again', async () => {
    const { watch, all, told } = watched([10, 50, 90, 130, 170, 210, 250])
    const timer = setInterval(() => watch.progressed(), 1)
    using _watch = watch
    await all
    clearInterval(timer)
    assert.equal(told(), 0)
  })
})
