import type { Catalog } from '#control/catalog/catalog.ts'
import type { IngestPhase, IngestProgress } from '#data/disk/ingest-types.ts'
import type { Image, Progress } from '#model/image.ts'

const SAVE_EVERY_MS = 1000

interface Entry {
  progress: Progress
  virtualSize: number
  dataSize: number
  savedAt: number
  saving: boolean
  /** Resolves once what was last begun to be saved is. */
  saved: Promise<void>
}

/**
 * How far registrations are. What runs in this process is answered from memory; the catalog gets it once a second,
 * for other processes and for after a crash.
 */
export class ProgressBoard {
  readonly #catalog: Pick<Catalog, 'beside'>
  readonly #now: () => number
  readonly #entries = new Map<string, Entry>()

  constructor({ catalog, now }: { catalog: Pick<Catalog, 'beside'>; now: () => number }) {
    this.#catalog = catalog
    this.#now = now
  }

  update(id: string, attempt: number, ingest: IngestProgress): void {
    const { virtualSize = 0, dataSize } = ingest
    this.#set(id, { progress: toProgress(ingest, attempt), virtualSize, dataSize })
  }

  /** @param total bytes of the whole upload, where it is known */
  uploading(id: string, received: number, total: number | undefined): void {
    this.#set(id, { progress: uploadProgress(received, total), virtualSize: 0, dataSize: 0 })
  }

  #set(id: string, state: Pick<Entry, 'progress' | 'virtualSize' | 'dataSize'>): void {
    const next: Entry = Object.assign(
      this.#entries.get(id) ?? { savedAt: 0, saving: false, saved: Promise.resolve() },
      state,
    )
    this.#entries.set(id, next)
    if (!next.saving && this.#now() - next.savedAt >= SAVE_EVERY_MS) next.saved = this.#save(id, next)
  }

  async #save(id: string, entry: Entry): Promise<void> {
    entry.saving = true
    entry.savedAt = this.#now()
    try {
      const { progress, virtualSize, dataSize } = entry
      await this.#catalog.beside((tables) => tables.images.saveProgress(id, progress, virtualSize, dataSize))
    } catch {
      // Nothing depends on it, and the next one comes in a second.
    } finally {
      entry.saving = false
    }
  }

  /** What is said of it from then on is not overwritten by what was being saved. */
  async end(id: string): Promise<void> {
    const entry = this.#entries.get(id)
    this.#entries.delete(id)
    await entry?.saved
  }

  /** The image with what is known better here than in the catalog. */
  refresh<T extends Image>(image: T): T {
    const entry = image.status === 'creating' ? this.#entries.get(image.id) : undefined
    if (!entry) return image
    const { progress, virtualSize, dataSize } = entry
    return { ...image, progress, virtualSize, dataSize }
  }
}

/**
 * A registration that has not begun, or not again.
 * @param message why the attempt before failed
 */
export function waitingProgress(attempt: number, message: string | null = null): Progress {
  return { ...NOTHING, phase: 'waiting', attempt, message }
}

/** @param total bytes of the whole upload, where it is known */
export function uploadProgress(received: number, total: number | undefined): Progress {
  const percent = total === undefined ? null : percentOf('receiving', received, total)
  return { ...NOTHING, phase: 'uploading', percent, bytesDone: received, bytesTotal: total ?? null }
}

const NOTHING = {
  percent: 0,
  bytesDone: 0,
  bytesTotal: null,
  rate: null,
  etaSeconds: null,
  attempt: 1,
  message: null,
}

export function doneProgress(bytes: number, attempt: number): Progress {
  return {
    phase: 'done',
    percent: 100,
    bytesDone: bytes,
    bytesTotal: bytes,
    rate: null,
    etaSeconds: 0,
    attempt,
    message: null,
  }
}

function toProgress(ingest: IngestProgress, attempt: number): Progress {
  const { phase, received, total, rate } = ingest
  const isReceiving = phase === 'receiving'
  return {
    phase,
    percent: percentOf(phase, received, total),
    bytesDone: received,
    bytesTotal: total ?? null,
    rate: isReceiving ? Math.round(rate) : null,
    etaSeconds: isReceiving && total !== undefined && rate > 0 ? Math.ceil((total - received) / rate) : null,
    attempt,
    message: null,
  }
}

/** Never 100: that is said only once the image is available. */
function percentOf(phase: IngestPhase, received: number, total: number | undefined): number | null {
  if (phase === 'connecting') return 0
  if (phase !== 'receiving') return 99
  return total === undefined || total === 0 ? null : Math.min(99, Math.floor((received / total) * 100))
}
