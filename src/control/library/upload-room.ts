import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import type { Job } from '#control/catalog/jobs.ts'
import { type LibraryOptions, REGISTRATION, type RegistrationPayload, type UploadPayload } from './deps.ts'
import { QuotaExceeded } from './failure.ts'
import type { UploadFiles } from './upload-files.ts'

/** So many bytes may come in between two looks at the quota, where nobody said before how many there will be. */
const LOOK_EVERY = 64 * MiB

/** What an account has is told by these. */
type Counted = Pick<Tables, 'images' | 'jobs' | 'orbitAccounts'>

export interface UploadRoomDeps {
  readonly options: Pick<LibraryOptions, 'quota' | 'uploadsPerAccount'>
  readonly files: UploadFiles
}

/** How much an account may have lying about that is no image yet. */
export class UploadRoom {
  readonly #options: UploadRoomDeps['options']
  readonly #files: UploadFiles

  constructor({ options, files }: UploadRoomDeps) {
    this.#options = options
    this.#files = files
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
    const { quota } = this.#options
    if (quota === undefined) return
    const others = (await this.#uploadsOf(tables, accountId)).filter(({ subject }) => subject !== id)
    if ((await this.#used(tables, accountId, others)) + bytes > quota) throw new QuotaExceeded(quota)
  }

  /** Passes on what comes from `offset` on, and calls `demand` with the size so far now and then. */
  async *watch(bytes: AsyncIterable<Uint8Array>, offset: number, demand: (size: number) => Promise<void>) {
    let size = offset
    let lookAt = offset
    for await (const chunk of bytes) {
      size += chunk.length
      if (size >= lookAt) {
        await demand(size)
        lookAt = size + LOOK_EVERY
      }
      yield chunk
    }
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
    return (orbit?.bytesUsed ?? 0) + (await this.#bytesOf(tables, accountId, uploads))
  }

  /** Bytes of images, and of uploads as announced or received, whichever is more. */
  async #bytesOf({ images }: Pick<Tables, 'images'>, accountId: string, uploads: readonly Job[]) {
    let used = await images.sumDataSize(accountId)
    for (const { subject, payload } of uploads) {
      const { total = 0 } = payload as UploadPayload
      used += Math.max(total, await this.#files.sizeOf(subject))
    }
    return used
  }
}
