import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import type { Daemon } from './daemon.ts'

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
