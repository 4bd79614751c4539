import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Corpus, hasCorpus, openCorpus } from '../support/corpus.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { startFileServer } from '../support/file-server.ts'
import {
  assertFails,
  assertNothingLeft,
  assertReadsBack,
  download,
  downloadTo,
  execute,
  forEach,
  register,
  settled,
  sha256Of,
} from '../support/registration.ts'
import { needs } from '../support/tools.ts'

const MiB = 1024 * 1024
const LIMIT_MS = 10_000
const LIMIT_MEMORY = 300 * MiB
const AT_ONCE = 4
/** Which images are read in all forms, each in one run of six; raw, all of them are. */
const SEED = Number(process.env.CORPUS_SEED ?? randomInt(6))

const statusOf = async (daemon: Daemon, field: string) =>
  1024 *
  Number(
    new RegExp(`${field}:\\s+(\\d+)`).exec(await readFile(`/proc/${daemon.process.pid}/status`, 'utf8'))?.[1],
  )

// Without the corpus beside the checkout there is nothing to run: the project's own images are in the other tests.
if (hasCorpus) {
  const tools = needs('bash', 'find', 'gzip', 'lz4', 'python3', 'qemu-img', 'qemu-io', 'xz', 'zstd')
  describe('corpus', tools, () => {
    let corpus: Corpus
    let folder: string
    let server: Awaited<ReturnType<typeof startFileServer>>

    before(async () => {
      corpus = await openCorpus()
      folder = await mkdtemp(join(tmpdir(), 'corpus-'))
      server = await startFileServer(corpus.folder)
    })
    after(async () => {
      await server?.[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    })

    test('valid images read back identical, every sixth in all three forms', async (t) => {
      t.diagnostic(`seed ${SEED}`)
      await using daemon = await startDaemon()
      assert.ok(corpus.valid.length > 100)
      await forEach([...corpus.valid.entries()], AT_ONCE, async ([index, { file, size, sha256 }]) => {
        const { id } = await register(daemon, server.url(file))
        const image = await settled(daemon, id)
        assert.equal(image.status, 'available', JSON.stringify(image.failure))
        assert.equal(image.virtual_size, Math.ceil(size / MiB))
        await assertReadsBack(daemon, id, { sha256, folder, all: (index + SEED) % 6 === 0 })
      })
    })

    test('1 TiB images read back identical where they hold data, and quickly', async () => {
      await using daemon = await startDaemon()
      await forEach(corpus.sparse, 1, async ({ file, size, extents }) => {
        const { id } = await register(daemon, server.url(file))
        const image = await settled(daemon, id, LIMIT_MS)
        assert.equal(image.status, 'available', JSON.stringify(image.failure))
        assert.equal(image.virtual_size, size / MiB)
        for (const { offset, length, sha256 } of extents) {
          const part = await download(daemon, id, 'raw', `bytes=${offset}-${offset + length - 1}`)
          assert.equal(part.status, 206)
          assert.equal(await sha256Of(part), sha256, `${offset}+${length}`)
        }
        const path = join(folder, `${id}.qcow2`)
        await downloadTo(daemon, id, 'qcow2', path)
        await execute('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', path, join(corpus.folder, file)])
      })
    })

    test('hostile images are refused with the right reason, in time and memory, and leave nothing', async () => {
      assert.ok(corpus.hostile.length > 200)
      const limits = [...new Set(corpus.hostile.map(({ limit }) => limit))]
      for (const limit of limits) {
        const config = join(folder, `limit-${limit}.ini`)
        await writeFile(
          config,
          limit === '-'
            ? ''
            : `[limits]
virtual_size = ${limit}
`,
        )
        await using daemon = await startDaemon({ arguments: ['--config', config] })
        const files = corpus.hostile.filter((row) => row.limit === limit)
        // One at a time, so that memory and time are those of this image alone.
        await forEach(files, 1, async ({ file, categories }) => {
          await writeFile(`/proc/${daemon.process.pid}/clear_refs`, '5')
          const memory = await statusOf(daemon, 'VmRSS')
          await assertFails(daemon, server.url(file), { codes: categories, limitMs: LIMIT_MS })
          const used = (await statusOf(daemon, 'VmHWM')) - memory
          assert.ok(used < LIMIT_MEMORY, `took ${Math.round(used / MiB)} MiB`)
        })
        await assertNothingLeft(daemon, config)
      }
    })
  })
}
