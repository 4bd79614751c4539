import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import type { Promised } from '#base/ledger.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import type { Job } from '#control/catalog/jobs.ts'
import {
  type LibraryOptions,
  promisedKey,
  REGISTRATION,
  type RegistrationPayload,
  type UploadPayload,
} from './deps.ts'
import { QuotaExceeded } from './failure.ts'
import { receivedOf } from './upload-payload.ts'

/** So many bytes are let in at a time where nobody said before how many there will be; fewer near the quota. */
const STEP = 8 * MiB
/** Steps that must be left where a whole one is let in, so that the last bytes go to who needs them. */
const NEAR = 16

/** What an account has is told by these. */
type Counted = Pick<Tables, 'images' | 'jobs' | 'orbitAccounts'>

export interface UploadRoomDeps {
  readonly options: Pick<LibraryOptions, 'catalog' | 'quota' | 'promised' | 'uploadsPerAccount'>
}

/** How much an account may have lying about that is no image yet. */
export class UploadRoom {
  readonly #options: UploadRoomDeps['options']
  /** How large an upload may become without another look, of those that are being received. */
  readonly #let = new Map<string, number>()

  constructor({ options }: UploadRoomDeps) {
    this.#options = options
  }

  /** @throws conflict where the account has as many unfinished uploads as it may; QuotaExceeded */
  async demandImage(tables: Counted, accountId: string, isUpload: boolean) {
    const { quota, uploadsPerAccount } = this.#options
    const uploads = await this.#uploadsOf(tables, accountId)
    if (isUpload && uploads.length >= uploadsPerAccount) {
      throw new LibraryError('conflict', `the account has ${uploads.length} uploads that are no image yet`, {
        hint: 'Finish one of them or destroy its image first.',
      })
    }
    if (quota !== undefined && (await this.#used(tables, accountId, uploads)) >= quota)
      throw new QuotaExceeded(quota)
  }

  /** @throws QuotaExceeded where an upload of so many bytes would be too much beside all else that the account has */
  async demandBytes(tables: Counted, accountId: string, id: string, bytes: number) {
    if ((await this.#left(tables, accountId, id)) < bytes) throw new QuotaExceeded(this.#options.quota ?? 0)
  }

  /**
   * Bytes of a registration under way, which count from now on.
   * @param id its image, whose upload these bytes are no addition to
   * @throws QuotaExceeded; then it counts as before
   */
  async extend(accountId: string, id: string, held: Promised, bytes: number) {
    if (this.#options.quota === undefined) return
    await this.#options.catalog.snapshot(async (tables) => {
      await this.demandData(tables, accountId, id, held, bytes)
      const job = await tables.jobs.find(REGISTRATION, id)
      held.set(Math.max(0, bytes - (job ? uploadedOf(job) : 0)))
    })
  }

  /** As `extend`, and only asks. */
  async demandData(tables: Counted, accountId: string, id: string, held: Promised, bytes: number) {
    const left = (await this.#left(tables, accountId, id)) + held.amount
    if (left < bytes) throw new QuotaExceeded(this.#options.quota ?? 0)
  }

  /** Nothing yet. */
  begin(accountId: string): Promised {
    return this.#options.promised.take([promisedKey(accountId)])
  }

  /** Lets in what comes of an upload, until disposed of: then only what is recorded of it counts. */
  watch(accountId: string, id: string): Disposable & { demand(size: number): Promise<void> } {
    return {
      demand: async (size) => {
        if (size > (this.#let.get(id) ?? 0)) await this.#letIn(accountId, id, size)
      },
      [Symbol.dispose]: () => void this.#let.delete(id),
    }
  }

  async #letIn(accountId: string, id: string, size: number) {
    if (this.#options.quota === undefined) return
    await this.#options.catalog.snapshot(async (tables) => {
      const left = await this.#left(tables, accountId, id)
      if (left < size) throw new QuotaExceeded(this.#options.quota ?? 0)
      this.#let.set(id, left - size > NEAR * STEP ? size + STEP : size)
    })
  }

  /** What the account may have in place of an image that is no more than coming in. */
  async #left(tables: Counted, accountId: string, id: string): Promise<number> {
    const { quota } = this.#options
    if (quota === undefined) return Number.POSITIVE_INFINITY
    const others = (await this.#uploadsOf(tables, accountId)).filter(({ subject }) => subject !== id)
    return quota - (await this.#used(tables, accountId, others))
  }

  async #uploadsOf({ jobs }: Pick<Tables, 'jobs'>, accountId: string): Promise<Job[]> {
    const registrations = await jobs.listOfAccount(REGISTRATION, accountId)
    return registrations.filter(({ payload }) => (payload as RegistrationPayload).source === 'upload')
  }

  /** Bytes that an account has besides its objects. */
  async bytesOf(tables: Counted, accountId: string): Promise<number> {
    return this.#bytesOf(tables, accountId, await this.#uploadsOf(tables, accountId))
  }

  async #used(tables: Counted, accountId: string, uploads: readonly Job[]): Promise<number> {
    const orbit = await tables.orbitAccounts.find(accountId)
    const promised = this.#options.promised.sum(promisedKey(accountId))
    return (orbit?.bytesUsed ?? 0) + promised + (await this.#bytesOf(tables, accountId, uploads))
  }

  /** Bytes of images that are there, and of uploads as announced, received or let in, whichever is most. */
  async #bytesOf({ images }: Pick<Tables, 'images'>, accountId: string, uploads: readonly Job[]) {
    let used = await images.sumDataSize(accountId)
    for (const { subject, payload } of uploads) {
      const { total = 0 } = payload as UploadPayload
      used += Math.max(total, this.#let.get(subject) ?? 0, receivedOf(payload as UploadPayload))
    }
    return used
  }
}

/** Bytes of the upload that a registration is made from; none where it is made from something else. */
function uploadedOf({ payload }: Job): number {
  const registration = payload as RegistrationPayload
  return registration.source === 'upload' ? receivedOf(registration) : 0
}
