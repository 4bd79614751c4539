import type { ContentStore } from '#data/content/content.ts'
import { EXTENSIONS } from './extensions.ts'
import type { Files } from './files.ts'
import type { HandleCount } from './open-handles.ts'
import type { Outlet } from './outlet.ts'
import { Requests } from './requests.ts'
import { failure, failureOf, SftpFailure } from './sftp-failure.ts'
import { FieldReader, MalformedPacket, REQUEST, STATUS, statusReply, versionReply } from './wire.ts'

/** Requests of a client that wait for their answers; what is more stays in its connection. */
const REQUESTS_MAX = 256
/** Bytes of writes on their way to the store. */
const WRITING_MAX = 2 * 1024 * 1024

export interface SftpSessionDeps {
  readonly files: Files
  readonly contents: ContentStore
  readonly outlet: Outlet
  readonly handles: HandleCount
  readonly now: () => number
  /** Where requests should stop coming in, and where they may go on. */
  readonly onPressure: (tooMuch: boolean) => void
  /** The bytes of a packet are not needed any more; not of every packet. */
  readonly onTaken: (packet: Buffer) => void
  /** Of errors that the client can do nothing about. */
  readonly onBug: (error: unknown) => void
  /** Ends everything at once, the files that are being written among it. */
  readonly signal: AbortSignal
}

/**
 * Answers the requests of one SFTP channel. Reads and writes go on beside each other; all other requests are answered
 * one after the other in the order in which they came, and reads and writes wait for those that came before them, so
 * that a client need not wait for one answer before it asks for the next thing.
 */
export class SftpSession {
  readonly #deps: SftpSessionDeps
  readonly #requests: Requests
  readonly #ended = new AbortController()
  /** Ends when everything that came before has its answer. */
  #queue: Promise<void> = Promise.resolve()
  #queued = 0
  #waiting = 0
  /** Bytes of writes that have no answer. */
  #writing = 0
  #settled: PromiseWithResolvers<void> | undefined
  #isPressed = false
  #isInitialized = false

  constructor(deps: SftpSessionDeps) {
    this.#deps = deps
    this.#requests = new Requests({
      ...deps,
      outlet: { ...deps.outlet, send: (reply) => this.#send(reply) },
      onRefused: (id, error) => this.#refuse(id, error),
      ended: this.#ended.signal,
    })
  }

  /** Whether the client waits for something, or has something open that it may go on with. */
  get isBusy(): boolean {
    return this.#waiting > 0 || this.#requests.hasOpenHandles
  }

  /** @param packet type and fields; left alone from now on. @throws MalformedPacket */
  receive(packet: Buffer): void {
    const type = packet[0] ?? 0
    const fields = new FieldReader(packet, 1)
    if (!this.#isInitialized) {
      if (type !== REQUEST.init) throw new MalformedPacket('the first packet is not SSH_FXP_INIT')
      this.#isInitialized = true
      this.#deps.outlet.send(versionReply(EXTENSIONS))
      return
    }
    const id = fields.uint32()
    this.#waiting++
    if (type === REQUEST.write) this.#write(id, fields, packet)
    else if (type !== REQUEST.read) this.#enqueue(id, () => this.#requests.answer(type, id, fields))
    else if (this.#queued > 0) this.#enqueue(id, async () => this.#requests.read(id, fields))
    else void this.#reply(id, async () => this.#requests.read(id, fields))
    this.#press()
  }

  /** Resolves once everything that was asked for is answered, or the session is ended. */
  async settle(): Promise<void> {
    if (this.#waiting === 0 || this.#ended.signal.aborted) return
    this.#settled ??= Promise.withResolvers<void>()
    await this.#settled.promise
  }

  /** The client is gone: what it left open is closed as for a connection that broke. */
  async end(): Promise<void> {
    this.#settled?.resolve()
    this.#ended.abort(new SftpFailure(STATUS.failure, 'the connection is gone'))
    await this.#queue
    await this.#requests.abandonAll(this.#deps.onBug)
  }

  #write(id: number, fields: FieldReader, packet: Buffer): void {
    this.#writing += packet.length
    const work = async () => {
      try {
        return await this.#requests.write(id, fields)
      } finally {
        this.#writing -= packet.length
        this.#deps.onTaken(packet)
      }
    }
    if (this.#queued === 0) void this.#reply(id, work)
    // Begun in its turn, and then beside what follows.
    else this.#enqueue(id, async () => void this.#reply(id, work))
  }

  #enqueue(id: number, work: () => Promise<Buffer | undefined>): void {
    this.#queued++
    this.#queue = this.#queue.then(async () => {
      await this.#reply(id, work)
      this.#queued--
    })
  }

  async #reply(id: number, work: () => Promise<Buffer | undefined>): Promise<void> {
    try {
      const reply = await work()
      if (reply) this.#send(reply)
    } catch (error) {
      this.#refuse(id, error)
    }
  }

  #send(reply: Buffer): void {
    if (--this.#waiting === 0) this.#settled?.resolve()
    this.#deps.outlet.send(reply)
    this.#press()
  }

  #refuse(id: number, error: unknown): void {
    const known =
      error instanceof MalformedPacket ? new SftpFailure(STATUS.badMessage, 'Bad message') : failureOf(error)
    if (!known && !this.#ended.signal.aborted) this.#deps.onBug(error)
    const { code, message } = known ?? failure('Failure')
    this.#send(statusReply(id, code, message))
  }

  #press(): void {
    const tooMuch = this.#waiting > REQUESTS_MAX || this.#writing > WRITING_MAX
    if (tooMuch === this.#isPressed) return
    this.#isPressed = tooMuch
    this.#deps.onPressure(tooMuch)
  }
}
