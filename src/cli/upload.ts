import { once } from 'node:events'
import { type FileHandle, open } from 'node:fs/promises'
import type { ClientRequest } from 'node:http'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MiB } from '#base/bytes.ts'
import type { Api } from './api.ts'
import { describeErrno } from './config-file.ts'
import { ApiError, CommandError } from './failure.ts'
import { imagePath } from './images.ts'
import { createMeter, createProgressBar } from './progress-bar.ts'
import { isPassing, MAX_VAIN_TRIES } from './retry.ts'
import type { Session } from './session.ts'

const CHUNK_BYTES = MiB

export interface Upload {
  /** The file's own name. */
  readonly name: string
  send(session: Session, api: Api, id: string): Promise<void>
  close(): Promise<void>
}

/**
 * Opens a file to be sent as an image's bytes. A dropped connection is taken up where the library says it is.
 * @throws an error that names the file, where it is none that can be sent
 */
export async function openUpload(path: string): Promise<Upload> {
  let file: FileHandle
  try {
    file = await open(path)
  } catch (cause) {
    throw new CommandError(`read ${path}: ${describeErrno(cause)}`, { cause })
  }
  const stat = await file.stat()
  const refused = !stat.isFile() ? 'it is not a regular file' : stat.size === 0 ? 'it is empty' : undefined
  if (refused) {
    await file.close()
    throw new CommandError(`read ${path}: ${refused}`)
  }
  return {
    name: basename(path),
    send: (session, api, id) => sendFile({ session, api, id, file, path, size: stat.size }),
    close: () => file.close(),
  }
}

interface Sending {
  readonly session: Session
  readonly api: Api
  readonly id: string
  readonly file: FileHandle
  readonly path: string
  readonly size: number
}

async function sendFile(sending: Sending): Promise<void> {
  const { session, api, id, size } = sending
  const bar = createProgressBar(session.terminal, `Uploading ${id}`)
  const meter = createMeter(size, 0)
  const show = (done: number) => bar.show(meter('uploading', done))
  try {
    let offset = 0
    for (let vain = 0; ; ) {
      try {
        await sendFrom(sending, offset, show)
        return
      } catch (error) {
        const isWorthwhile = isPassing(error) || isStillDraining(error, offset > 0)
        if (!isWorthwhile || vain >= MAX_VAIN_TRIES) throw error
        await sleep(session.retryMs * 2 ** vain, undefined, { signal: session.signal })
        const received = await receivedBytes(api, id, size).catch(() => undefined)
        vain = received !== undefined && received > offset ? 0 : vain + 1
        offset = received ?? offset
      }
    }
  } finally {
    bar.end()
  }
}

/** While the library still drains a dropped connection, it may answer a resumption with a conflict. */
const isStillDraining = (error: unknown, isResumed: boolean): boolean =>
  isResumed && error instanceof ApiError && error.status === 409

/** How many bytes the library has already. */
async function receivedBytes(api: Api, id: string, size: number): Promise<number> {
  const attempt = `resume the upload of ${id}`
  const response = await api.raw('HEAD', imagePath(id, '/upload'), { attempt })
  response.body.resume()
  const offset = Number(response.headers['upload-offset'])
  if (!Number.isSafeInteger(offset) || offset < 0 || offset > size) {
    throw new CommandError(`${attempt}: the library does not say how much it has`)
  }
  return offset
}

async function sendFrom(sending: Sending, offset: number, show: (done: number) => void): Promise<void> {
  const { api, id, size } = sending
  if (offset === size) return
  const response = await api.raw('PUT', imagePath(id, '/upload'), {
    attempt: `upload ${sending.path}`,
    headers: {
      'Content-Type': 'application/octet-stream',
      'Content-Length': String(size - offset),
      ...(offset === 0 ? {} : { 'Content-Range': `bytes ${offset}-${size - 1}/${size}` }),
    },
    send: (request) => writeFrom(sending, request, offset, show),
  })
  response.body.resume()
}

async function writeFrom(
  { file, path, size }: Sending,
  request: ClientRequest,
  start: number,
  show: (done: number) => void,
): Promise<void> {
  let answered = false
  request.once('response', () => {
    answered = true
  })
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  for (let offset = start; offset < size && !answered; ) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(CHUNK_BYTES, size - offset), offset)
    if (bytesRead === 0) throw new CommandError(`read ${path}: it became shorter while it was sent`)
    // The buffer is used again, so its write must have ended by then.
    await new Promise<void>((resolve, reject) => {
      request.write(buffer.subarray(0, bytesRead), (error) => (error ? reject(error) : resolve()))
    })
    offset += bytesRead
    show(offset)
  }
  if (!answered) request.end()
  else await once(request, 'close').catch(() => undefined)
}
