import type { Promised } from '#base/ledger.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import type { Job } from '#control/catalog/jobs.ts'
import type { IngestProgress } from '#data/disk/ingest-types.ts'
import type { LibraryOptions, RegistrationPayload } from './deps.ts'
import type { UploadRoom } from './upload-room.ts'

export interface HoldingDeps {
  readonly job: Job
  readonly room: UploadRoom
  readonly reserve: LibraryOptions['reserve']
}

/**
 * What a registration under way takes of its account's quota and of the disk: as announced, received or stored,
 * whichever is most; from the moment that this is known until it ends.
 */
export class Holding implements Disposable {
  readonly #deps: HoldingDeps
  readonly #quota: Promised
  readonly #abort = new AbortController()
  #space: Promised | undefined
  #announced = 0
  #counted = 0
  #wanted = 0
  #asking: Promise<void> | undefined

  constructor(deps: HoldingDeps) {
    this.#deps = deps
    this.#quota = deps.room.begin(deps.job.accountId)
  }

  /** Aborts where what comes is more than the quota lets in. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** @throws QuotaExceeded, NoRoom */
  async admit(bytes = 0): Promise<void> {
    this.#space = this.#deps.reserve.promise(bytes)
    this.#announced = bytes
    await this.#extend(this.#isVolume ? 0 : bytes)
  }

  /** Of a volume only data counts: what is received is the disk, of which most may be empty. */
  watch({ received, total, dataSize }: IngestProgress): void {
    this.#space?.set(Math.max(0, this.#announced - (this.#isVolume ? dataSize : received)))
    this.#wanted = this.#isVolume ? dataSize : Math.max(total ?? received, dataSize)
    this.#asking ??= this.#keepUp()
  }

  /** Never rejects. */
  async #keepUp(): Promise<void> {
    try {
      while (this.#wanted > this.#counted) await this.#extend(this.#wanted)
    } catch (reason) {
      this.#abort.abort(reason)
    } finally {
      this.#asking = undefined
    }
  }

  /** To be asked in the transaction that makes the image available. @throws QuotaExceeded */
  async settle(tables: Tables, dataSize: number): Promise<void> {
    const { job, room } = this.#deps
    await room.demandData(tables, job.accountId, job.subject, this.#quota, dataSize)
    // From now on the image itself counts, and its bytes are there.
    this[Symbol.dispose]()
  }

  async #extend(bytes: number): Promise<void> {
    const { job, room } = this.#deps
    await room.extend(job.accountId, job.subject, this.#quota, bytes)
    this.#counted = bytes
  }

  get #isVolume(): boolean {
    return (this.#deps.job.payload as RegistrationPayload).source === 'volume'
  }

  [Symbol.dispose](): void {
    this.#quota[Symbol.dispose]()
    this.#space?.[Symbol.dispose]()
  }
}
