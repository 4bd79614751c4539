import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { deflateRawSync, gzipSync } from 'node:zlib'
import { MiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { isRetryable } from '#control/jobs/retry.ts'
import { toFailure } from '#control/library/failure.ts'
import { openLibrary } from '#control/library/library.fixtures.ts'
import { childrenOf, until } from '#data/native/decoders.fixtures.ts'
import { Qcow2Writer } from '../../../test/support/qcow2-writer.ts'
import { file, startWebServer, type WebServer } from '../../../test/support/web-server.ts'
import { createIngest } from './ingest-runner.ts'
import type { IngestSource } from './ingest-types.ts'
import { ownSource } from './own-source.fixtures.ts'

const disk = Buffer.concat([Buffer.alloc(MiB), randomBytes(7 * MiB)])

/** A qcow2 whose first half is compressed, and whose second half lies at its end. */
function compressedQcow2(): Uint8Array {
  const image = new Qcow2Writer({ size: 8 * MiB }).tablesFirst()
  for (let cluster = 16; cluster < 64; cluster++)
    image.pack(cluster, deflateRawSync(disk.subarray(cluster * 65_536, (cluster + 1) * 65_536)))
  image.data(100, randomBytes(65_536))
  return image.build()
}

/** What comes as a stream, and what in clusters; none of them comes to its end. */
const SOURCES: Readonly<Record<string, Uint8Array>> = {
  gzip: gzipSync(disk),
  'compressed qcow2': compressedQcow2(),
}

const decoders = (parent = process.pid) =>
  childrenOf(parent).filter(({ pid }) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/decoder.mjs'),
  )

describe('isolation of decoders', () => {
  let folder: string
  let server: WebServer
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'decoders-'))
    server = await startWebServer()
    for (const [name, bytes] of Object.entries(SOURCES))
      server.on(`/${name.replace(' ', '-')}`, file(bytes, { stopAfter: bytes.length - 65_536 }))
  })
  after(async () => {
    await server[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  const urlOf = (name: string) => server.url(`/${name.replace(' ', '-')}`)
  async function openPlace() {
    const data = await mkdtemp(join(folder, 'data-'))
    const place = { storePlace: join(data, 'store'), spoolDirectory: join(data, 'spool') }
    await mkdir(place.spoolDirectory)
    return place
  }
  async function begin(source: IngestSource, signal = new AbortController().signal) {
    const place = await openPlace()
    const running = createIngest({ ...place, threads: 1 })(
      {
        source,
        limits: DEFAULT_LIMITS,
        allowSource: ['127.0.0.0/8'],
      },
      { onProgress: () => {}, signal },
    )
    running.catch(() => {})
    return { ...place, running }
  }
  async function assertNothingLeft({ storePlace, spoolDirectory }: Awaited<ReturnType<typeof openPlace>>) {
    assert.deepEqual(childrenOf(process.pid), [], 'no process, not even a dead one')
    assert.deepEqual(await readdir(spoolDirectory), [])
    assert.deepEqual(await readdir(join(storePlace, 'temporary')), [])
  }

  for (const name of Object.keys(SOURCES)) {
    test(`a decoder of a ${name} that is killed costs its registration, and no other`, async () => {
      const broken = await begin({ kind: 'http', url: urlOf(name) })
      const decoder = await until(() => decoders()[0])
      // So that it still owes an answer when it is killed.
      process.kill(decoder.pid, 'SIGSTOP')
      const sound = await begin(ownSource(gzipSync(disk)))
      process.kill(decoder.pid, 'SIGKILL')
      await assert.rejects(broken.running, (error) => {
        assert.match(String(error), /a decoder process ended in the middle of its work/)
        assert.equal(toFailure(error).code, 'machine')
        assert.equal(isRetryable(error), true)
        return true
      })
      assert.equal((await sound.running).virtualSize, disk.length)
      await assertNothingLeft(broken)
    })

    test(`a registration from a ${name} that is cancelled ends its decoder, also one that hangs`, async () => {
      const stopping = new AbortController()
      const cancelled = await begin({ kind: 'http', url: urlOf(name) }, stopping.signal)
      const decoder = await until(() => decoders()[0])
      process.kill(decoder.pid, 'SIGSTOP')
      stopping.abort(new Error('destroyed'))
      await assert.rejects(cancelled.running, /destroyed/)
      await assertNothingLeft(cancelled)
    })

    test(`a library that is killed leaves no decoder of a ${name} behind`, async () => {
      const { storePlace, spoolDirectory } = await openPlace()
      const program = fileURLToPath(new URL('./registering.fixtures.ts', import.meta.url))
      const library = spawn(process.execPath, [program, storePlace, spoolDirectory, urlOf(name)], {
        stdio: 'inherit',
      })
      const { pid } = await until(() => decoders(library.pid)[0])
      library.kill('SIGKILL')
      await once(library, 'exit')
      // Where nobody waits for orphans, it stays a zombie.
      await until(() => /^State:\s+[ZX]/m.test(statusOf(pid)) || statusOf(pid) === '')
    })
  }

  test('a registration whose decoder is killed is tried again; where that goes on, it fails', async () => {
    const { storePlace, spoolDirectory } = await openPlace()
    await using fixture = await openLibrary({
      ingest: createIngest({ storePlace, spoolDirectory, threads: 1 }),
      allowSource: ['127.0.0.0/8'],
    })
    const { library, owner, options, clock } = fixture
    const bytes = SOURCES.gzip as Uint8Array
    for (const kills of [1, 5]) {
      server.on('/gzip', file(bytes, { stopAfter: bytes.length - 65_536 }))
      const { id } = await library.register(owner, { arch: 'x86_64', httpUrl: urlOf('gzip') })
      for (let kill = 1; kill <= kills; kill++) {
        process.kill((await until(() => decoders()[0])).pid, 'SIGKILL')
        await options.jobs.settled()
        assert.deepEqual(childrenOf(process.pid), [])
        if (kills === 1) server.on('/gzip', file(bytes))
        clock.at += 60_000
        await options.jobs.poll()
      }
      await options.jobs.settled()
      const { status, failure, virtualSize } = await library.show(owner, id)
      const retries = (await library.events(owner, id)).filter(({ action }) => action === 'image.retrying')
      if (kills === 1) assert.deepEqual([status, virtualSize, retries.length], ['available', disk.length, 1])
      else {
        assert.deepEqual([status, failure?.code, retries.length], ['failed', 'machine', 4])
        assert.match(
          failure?.message ?? '',
          /a process that decoded the image was ended\. It was tried 5 times\.$/,
        )
      }
      assert.deepEqual(await readdir(spoolDirectory), [])
      assert.deepEqual(await readdir(join(storePlace, 'temporary')), [])
    }
  })

  test('a registration that is cancelled at any moment leaves no process', async (t) => {
    const large = ownSource(gzipSync(randomBytes(32 * MiB), { level: 1 }))
    for (let round = 0; round < 4; round++) {
      const wait = randomInt(1000)
      const stopping = new AbortController()
      setTimeout(() => stopping.abort(new Error('destroyed')), wait)
      const cancelled = await begin(large, stopping.signal)
      await cancelled.running.catch((error) => assert.match(error.message, /destroyed/))
      await assertNothingLeft(cancelled)
      t.diagnostic(`after ${wait} ms`)
    }
  })
})

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return ''
  }
}
