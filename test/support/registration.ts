import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import type { Daemon } from './daemon.ts'
import { libraryAt, listStored } from './library-place.ts'

export const execute = promisify(execFile)

/** What the tests read of an image. */
export interface ImageJson {
  readonly id: string
  readonly status: string
  readonly name: string
  readonly virtual_size: number
  readonly disk_size: number
  readonly digest: string | null
  readonly failure: { code: string; message: string; hint: string } | null
  readonly progress: { phase: string; percent: number | null } | null
  readonly source_info: { format: string | null; sha256: string | null; bytes: number | null } | null
}

export async function register(daemon: Daemon, url: string, more: object = {}): Promise<ImageJson> {
  const { status, body } = await daemon.api<ImageJson>('POST', '/1.0/images', {
    http_url: url,
    arch: 'x86_64',
    ...more,
  })
  assert.equal(status, 201, JSON.stringify(body))
  return body
}

/** Waits, by asking, until a registration has ended one way or the other. */
export async function settled(daemon: Daemon, id: string, deadlineMs = 120_000): Promise<ImageJson> {
  const deadline = Date.now() + deadlineMs
  for (;;) {
    const { body } = await daemon.api<ImageJson>('GET', `/1.0/images/${id}`)
    if (body.status !== 'creating') return body
    if (Date.now() > deadline)
      throw new Error(`${id} is still creating: ${JSON.stringify(body)}\n${daemon.output()}`)
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
}

export async function download(
  daemon: Daemon,
  id: string,
  format: string,
  range?: string,
): Promise<Response> {
  return fetch(`${daemon.url}/1.0/images/${id}/download?format=${format}`, {
    headers: { authorization: `Bearer ${daemon.token}`, ...(range ? { range } : {}) },
  })
}

/** Downloads into a file; the length must be the one announced. */
export async function downloadTo(daemon: Daemon, id: string, format: string, path: string): Promise<void> {
  const response = await download(daemon, id, format)
  assert.equal(response.status, 200)
  assert.ok(response.body)
  await pipeline(response.body, createWriteStream(path))
  assert.equal((await stat(path)).size, Number(response.headers.get('content-length')))
}

export async function sha256Of(response: Response): Promise<string> {
  assert.ok(response.body)
  const sum = createHash('sha256')
  for await (const chunk of response.body) sum.update(chunk)
  return sum.digest('hex')
}

/** SHA-256 of what a shell command prints. */
export async function sha256OfCommand(command: string, ...words: string[]): Promise<string> {
  const { stdout } = await execute('bash', [
    '-c',
    `set -o pipefail; ${command} | sha256sum`,
    'bash',
    ...words,
  ])
  return stdout.slice(0, 64)
}

/** Checks that an image that is available is this disk in all three forms; keeps files in `folder` meanwhile. */
export async function assertReadsBack(
  daemon: Daemon,
  id: string,
  { sha256, folder, all = true }: { sha256: string; folder: string; all?: boolean },
): Promise<void> {
  assert.equal(await sha256Of(await download(daemon, id, 'raw')), sha256, 'raw')
  if (!all) return
  const path = join(folder, id)
  await downloadTo(daemon, id, 'lz4', `${path}.lz4`)
  assert.equal(await sha256OfCommand('lz4 -dc "$1"', `${path}.lz4`), sha256, 'lz4')
  await downloadTo(daemon, id, 'qcow2', `${path}.qcow2`)
  await execute('qemu-img', ['check', '-q', '-f', 'qcow2', `${path}.qcow2`])
  await execute('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', `${path}.qcow2`, `${path}.raw`])
  assert.equal(await sha256OfCommand('cat "$1"', `${path}.raw`), sha256, 'qcow2')
  for (const suffix of ['lz4', 'qcow2', 'raw']) await rm(`${path}.${suffix}`)
}

/** Registers an image and checks that it fails within the time, for one of these reasons, with words for its owner. */
export async function assertFails(
  daemon: Daemon,
  url: string,
  { codes, limitMs }: { codes: readonly string[]; limitMs: number },
): Promise<void> {
  const start = Date.now()
  const { id } = await register(daemon, url)
  const image = await settled(daemon, id, limitMs)
  assert.equal(image.status, 'failed')
  assert.ok(codes.includes(image.failure?.code ?? ''), `${codes} but got ${JSON.stringify(image.failure)}`)
  assert.ok(image.failure?.message && image.failure.hint, 'a sentence and a next step')
  assert.ok(Date.now() - start < limitMs, `took ${Date.now() - start} ms`)
}

/** Checks that `collect` leaves an empty store behind, and the daemon well. */
export async function assertNothingLeft(daemon: Daemon, config: string): Promise<void> {
  const words = ['collect', ...(await libraryAt(daemon.data)), '--config', config]
  const { stdout } = await execute('bin/image-library', words)
  assert.match(stdout, /^deleted \d+ blocks?\b/)
  assert.deepEqual(await listStored(daemon.data), [], 'nothing is left in the store')
  assert.equal((await fetch(`${daemon.url}/healthz`)).status, 200)
}

/** Runs `work` over all things, a few at a time, and tells every failure. */
export async function forEach<T>(
  things: readonly T[],
  atOnce: number,
  work: (thing: T) => Promise<void>,
): Promise<void> {
  const failures: string[] = []
  const queue = things.values()
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const thing of queue) {
        await work(thing).catch((error: Error) => failures.push(`${JSON.stringify(thing)}: ${error.message}`))
      }
    }),
  )
  assert.deepEqual(failures, [])
}
