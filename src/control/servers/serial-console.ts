import { constants } from 'node:fs'
import { type FileHandle, rename } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { KiB, MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import type { JobLog } from '#control/jobs/queue.ts'
import type { Timer } from './deps.ts'
import { connectSocket, pace } from './qemu/connect-socket.ts'
import { MACHINE_FILES } from './qemu/machine.ts'
import { openOwnFile } from './qemu/machine-folder.ts'
import type { ConsoleStream } from './servers.ts'

const BACKLOG_BYTES = 64 * KiB
/** What a client may have unread before it is dropped: the guest must not wait for it. */
const UNREAD_MAX = MiB
const LOG_BYTES = MiB
/** Bytes that wait for the log; what a guest says beyond that while the disk is slow is left out of it. */
const UNWRITTEN_MAX = MiB
const RECONNECT_MS = 1000
const CLIENTS_MAX = 16
const LOG = 'serial.log'

export interface SerialConsoleOptions {
  /** The server's. */
  readonly folder: string
  readonly timer: Timer
  readonly log: JobLog
}

/** A running guest's first serial port: kept, written to `serial.log`, and shared by all who attach. */
export class SerialConsole implements AsyncDisposable {
  readonly #options: SerialConsoleOptions
  readonly #clients = new Set<Duplex>()
  #socket: Socket | undefined
  #backlog: Buffer = Buffer.alloc(0)
  #unwritten: Buffer[] = []
  #unwrittenBytes = 0
  #writing: Promise<void> | undefined
  #hasFailed = false
  #cancelReconnect: (() => void) | undefined
  #disposed = false

  constructor(options: SerialConsoleOptions) {
    this.#options = options
    this.#connect()
  }

  /** @throws conflict where too many are attached */
  attach(): ConsoleStream {
    if (this.#clients.size >= CLIENTS_MAX) {
      throw new LibraryError('conflict', `${CLIENTS_MAX} clients are attached to the console already`)
    }
    const client = new Duplex({
      allowHalfOpen: false,
      read: () => {},
      write: (chunk: Uint8Array, _encoding, done) => {
        // Between two connections nobody listens: what is typed is lost, as on a cable that is not plugged in.
        if (this.#socket?.readyState === 'open') this.#socket.write(chunk, () => done())
        else done()
      },
      destroy: (error, done) => {
        this.#clients.delete(client)
        done(error)
      },
    })
    client.on('error', () => {})
    this.#clients.add(client)
    return { backlog: Buffer.from(this.#backlog), stream: client }
  }

  #connect(): void {
    connectSocket(this.#options.folder, MACHINE_FILES.serial).then(
      (socket) => this.#use(socket),
      () => this.#connectLater(),
    )
  }

  #use(socket: Socket): void {
    this.#socket = socket
    if (this.#disposed) socket.destroy()
    else if (socket.closed) this.#connectLater()
    pace(socket)
    socket.on('data', (bytes) => this.#receive(bytes))
    socket.on('close', () => this.#connectLater())
  }

  #connectLater(): void {
    if (!this.#disposed) this.#cancelReconnect = this.#options.timer(RECONNECT_MS, () => this.#connect())
  }

  #receive(bytes: Buffer): void {
    this.#backlog = Buffer.concat([this.#backlog, bytes]).subarray(-BACKLOG_BYTES)
    for (const client of this.#clients) {
      client.push(bytes)
      if (client.readableLength > UNREAD_MAX) client.destroy()
    }
    if (this.#unwrittenBytes + bytes.length > UNWRITTEN_MAX) return
    this.#unwritten.push(bytes)
    this.#unwrittenBytes += bytes.length
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
  }

  async #write(): Promise<void> {
    try {
      while (this.#unwritten.length > 0) {
        await using handle = await openLog(this.#options.folder)
        const bytes = Buffer.concat(this.#unwritten)
        this.#unwritten = []
        this.#unwrittenBytes = 0
        await handle.appendFile(bytes)
        this.#hasFailed = false
      }
    } catch (error) {
      // A full disk costs the log, nothing else.
      this.#unwritten = []
      this.#unwrittenBytes = 0
      if (this.#hasFailed) return
      // Once: the guest says how often there is something to write.
      this.#hasFailed = true
      this.#options.log.warn(
        { err: error, folder: this.#options.folder },
        'cannot write the log of a console',
      )
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.#cancelReconnect?.()
    this.#socket?.destroy()
    for (const client of this.#clients) client.push(null)
    await this.#writing
  }
}

/** A log that is long becomes the older one. */
async function openLog(folder: string): Promise<FileHandle> {
  const path = join(folder, LOG)
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT
  const handle = await openOwnFile(path, flags)
  const { size } = await handle.stat()
  if (size < LOG_BYTES) return handle
  await handle.close()
  await rename(path, `${path}.1`)
  return openOwnFile(path, flags | constants.O_EXCL)
}
