import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { REGISTRATION } from './deps.ts'
import { waitingUpload } from './upload-payload.ts'

/** Between two looks at whether what is received is still wanted: another process may have ended that. */
const LOOK_MS = 20_000

/** The uploads that this process is receiving a part of. */
export class Receiving {
  readonly #catalog: Pick<Catalog, 'jobs'>
  readonly #parts = new Map<string, AbortController>()

  constructor({ catalog }: { readonly catalog: Pick<Catalog, 'jobs'> }) {
    this.#catalog = catalog
  }

  has(id: string): boolean {
    return this.#parts.has(id)
  }

  /**
   * Takes an upload for one part, until disposed of.
   * @returns a signal that aborts when the upload ends
   * @throws conflict where another part is being received
   */
  take(id: string): Disposable & { readonly ended: AbortSignal } {
    if (this.has(id))
      throw new LibraryError('conflict', `image ${id} is receiving another part of its upload`)
    const abort = new AbortController()
    this.#parts.set(id, abort)
    const looks = setInterval(() => void this.#look(id).catch(() => {}), LOOK_MS).unref()
    return {
      ended: abort.signal,
      [Symbol.dispose]: () => {
        clearInterval(looks)
        this.#parts.delete(id)
      },
    }
  }

  async #look(id: string): Promise<void> {
    if (!waitingUpload(await this.#catalog.jobs.find(REGISTRATION, id))) this.end(id)
  }

  /** Ends the part that is being received, which nobody waits for any more. */
  end(id: string): void {
    this.#parts.get(id)?.abort(new LibraryError('conflict', `image ${id} waits for no upload any more`))
  }
}
