import { join } from 'node:path'
import type { Tables } from '#control/catalog/catalog.ts'
import type { Job } from '#control/catalog/jobs.ts'
import { EndsItsProcess, type JobHandler, type JobRun } from '#control/jobs/queue.ts'
import type { IngestResult, IngestSource, VolumeSource } from '#data/disk/ingest-types.ts'
import { type EventAction, SYSTEM } from '#model/event.ts'
import type { Provenance } from '#model/image.ts'
import type { LibraryOptions, OrbitPayload, RegistrationPayload, VolumePayload } from './deps.ts'
import { QuotaExceeded, toFailure } from './failure.ts'
import type { Feed } from './feed.ts'
import { Holding } from './holding.ts'
import { partsOf, toSource } from './own-objects.ts'
import { doneProgress, type ProgressBoard, waitingProgress } from './progress-board.ts'
import type { Receiving } from './receiving.ts'
import { uploadSource } from './upload-payload.ts'
import type { UploadRoom } from './upload-room.ts'

export interface RegistrationDeps {
  readonly options: Pick<
    LibraryOptions,
    | 'catalog'
    | 'ingest'
    | 'joinParts'
    | 'limits'
    | 'allowSource'
    | 'reserve'
    | 'onVolumeRead'
    | 'onEnded'
    | 'now'
    | 'redactUrl'
  >
  readonly board: ProgressBoard
  readonly feed: Feed
  readonly receiving: Receiving
  readonly room: UploadRoom
}

/** The work of a registration: from its source to an image that is available, or to the reason why it is not. */
export class RegistrationHandler implements JobHandler {
  readonly #options: RegistrationDeps['options']
  readonly #board: ProgressBoard
  readonly #feed: Feed
  readonly #receiving: Receiving
  readonly #room: UploadRoom

  constructor({ options, board, feed, receiving, room }: RegistrationDeps) {
    this.#options = options
    this.#board = board
    this.#feed = feed
    this.#receiving = receiving
    this.#room = room
  }

  async run(run: JobRun): Promise<void> {
    const { job, signal } = run
    const { ingest, limits, allowSource } = this.#options
    const payload = job.payload as RegistrationPayload
    await this.#begin(job)
    const source = await this.#sourceOf(payload)
    signal.throwIfAborted()
    using held = new Holding({ job, room: this.#room, reserve: this.#options.reserve })
    try {
      const result = await ingest(
        {
          source,
          ...(payload.checksum === undefined ? {} : { expectedSha256: payload.checksum }),
          limits,
          allowSource,
        },
        {
          signal: AbortSignal.any([signal, held.signal]),
          admit: (bytes) => held.admit(bytes),
          onProgress: (progress) => {
            held.watch(progress)
            this.#board.update(job.subject, job.failures + 1, progress)
          },
        },
      )
      await this.#publish(run, result, held)
    } finally {
      // Before anybody looks again, for what the catalog says now is newer.
      await this.#board.end(job.subject)
      this.#feed.wake()
    }
    this.#letGo(job)
  }

  /** What the ended job was made from is no longer needed. */
  #letGo({ subject, payload }: Job): void {
    const registration = payload as RegistrationPayload
    if (registration.source === 'volume') this.#options.onVolumeRead?.(registration.serverId)
    else this.#receiving.end(subject)
  }

  async #sourceOf(payload: RegistrationPayload): Promise<IngestSource> {
    if (payload.source === 'http') return { kind: 'http', url: payload.url }
    if (payload.source === 'volume') return toVolumeSource(payload)
    if (payload.source === 'orbit') {
      return toSource(payload, payload.checksum === undefined ? await this.#diskOf(payload) : undefined)
    }
    return uploadSource(payload)
  }

  /** One manifest of the whole object, where that can be had without moving data. */
  async #diskOf(payload: OrbitPayload): Promise<string | undefined> {
    const [only, ...more] = payload.parts
    if (more.length === 0 && only && 'manifest' in only.content) {
      const { manifest, form, size } = only.content
      if (form === 'raw' && only.length === size) return manifest
    }
    // Not before the job has begun: collection leaves alone what is made from then on.
    return (await this.#options.joinParts(partsOf(payload)))?.manifest
  }

  async #begin(job: Job): Promise<void> {
    // A crash or a restart takes a job up again without that being news.
    if (job.attempt === 1) {
      const message = isSnapshot(job) ? "The server's disk is being read." : 'The registration began.'
      await this.#options.catalog.relaxed((tables) => this.#tell(tables, job, 'image.started', message))
      this.#feed.wake()
    }
  }

  async #publish({ job, finish }: JobRun, result: IngestResult, held: Holding): Promise<void> {
    const { now, redactUrl } = this.#options
    const { manifest, virtualSize, dataSize, addedSize, source } = result
    const failure = await finish(async (tables) => {
      try {
        await held.settle(tables, dataSize)
      } catch (error) {
        if (!(error instanceof QuotaExceeded)) throw error
        await this.#fail(tables, job, error, job.failures + 1)
        return toFailure(error).code
      }
      const provenance = toProvenance(result, redactUrl)
      const progress = doneProgress(source.bytes, job.failures + 1)
      const change = { status: 'available', manifest, virtualSize, dataSize, provenance, progress } as const
      await tables.images.update(job.subject, { ...change, updatedAt: now() }, ['creating'])
      const sizes = `${virtualSize} bytes, ${dataSize} of them data, ${addedSize} of them new here`
      await this.#tell(tables, job, 'image.available', `The image is available: a disk of ${sizes}.`)
      return undefined
    })
    this.#options.onEnded?.(failure)
  }

  async retrying(tables: Tables, job: Job, error: unknown, runAt: number): Promise<void> {
    const attempt = job.failures + 1
    const { message: reason } = toFailure(error, { isSnapshot: isSnapshot(job) })
    await tables.images.saveProgress(job.subject, waitingProgress(attempt, reason), 0, 0)
    const seconds = Math.max(0, Math.ceil((runAt - this.#options.now()) / 1000))
    const message = `${reason} Attempt ${attempt} follows in ${seconds} s.`
    await this.#tell(tables, job, 'image.retrying', message)
  }

  async failed(tables: Tables, job: Job, error: unknown): Promise<void> {
    await this.#fail(tables, job, error, error instanceof EndsItsProcess ? error.tries : job.failures)
  }

  async settled(job: Job, ended: boolean, error: unknown): Promise<void> {
    this.#feed.wake()
    if (!ended) return
    this.#options.onEnded?.(toFailure(error).code)
    this.#letGo(job)
  }

  async #fail(tables: Tables, job: Job, error: unknown, tries: number): Promise<void> {
    const failure = toFailure(error, { isSnapshot: isSnapshot(job), tries })
    // What was counted so far is not kept.
    const change = { status: 'failed', failure, virtualSize: 0, dataSize: 0 } as const
    await tables.images.update(job.subject, { ...change, updatedAt: this.#options.now() }, ['creating'])
    await this.#tell(tables, job, 'image.failed', failure.message)
  }

  async #tell(tables: Tables, job: Job, action: EventAction, message: string): Promise<void> {
    const { accountId, subject: resourceId } = job
    await tables.events.add({
      accountId,
      resourceId,
      action,
      message,
      actor: SYSTEM,
      createdAt: this.#options.now(),
    })
  }
}

const isSnapshot = ({ payload }: Job) => (payload as RegistrationPayload).source === 'volume'

function toVolumeSource({
  size,
  manifest,
  folder,
  baseFile,
  layers,
  dataLimit,
}: VolumePayload): VolumeSource {
  return {
    kind: 'volume',
    size,
    base: manifest === undefined ? { file: join(folder, baseFile) } : { manifest },
    layers: layers.map((name) => join(folder, name)),
    dataLimit,
  }
}

function toProvenance(result: IngestResult, redactUrl: (url: URL) => string): Provenance {
  const { url, finalUrl, bytes, sha256, etag, lastModified } = result.source
  const shown = (text: string | undefined) => (text === undefined ? null : redactUrl(new URL(text)))
  return {
    url: shown(url),
    finalUrl: shown(finalUrl),
    formatChain: result.formatChain,
    bytes,
    sha256: sha256 ?? null,
    etag: etag ?? null,
    lastModified: lastModified ?? null,
    notes: result.notes,
  }
}
