import type { IngestPhase, IngestProgress } from './ingest-types.ts'

/** How often progress is told, and over how long its rate is averaged. */
const TELL_MS = 250
const RATE_WINDOW_MS = 5_000

interface ProgressMeterDeps {
  readonly onProgress: (progress: IngestProgress) => void
  readonly now: () => number
}

/** Counts what a registration has done and tells it four times a second, and at every change of phase. */
export class ProgressMeter implements Disposable {
  received = 0
  total: number | undefined
  decoded = 0
  dataSize = 0
  virtualSize: number | undefined
  readonly #deps: ProgressMeterDeps
  #phase: IngestPhase = 'connecting'
  readonly #timer: NodeJS.Timeout
  readonly #samples: { at: number; received: number }[] = []

  constructor(deps: ProgressMeterDeps) {
    this.#deps = deps
    this.#timer = setInterval(() => this.#tell(), TELL_MS)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  enter(phase: IngestPhase): void {
    if (phase === this.#phase) return
    this.#phase = phase
    this.#tell()
  }

  #tell(): void {
    const now = this.#deps.now()
    this.#samples.push({ at: now, received: this.received })
    while (this.#samples.length > 2 && now - (this.#samples[0]?.at ?? now) > RATE_WINDOW_MS)
      this.#samples.shift()
    const first = this.#samples[0]
    const seconds = first ? (now - first.at) / 1000 : 0
    const rate = first && seconds > 0 ? Math.round((this.received - first.received) / seconds) : 0
    const { received, total, decoded, virtualSize, dataSize } = this
    this.#deps.onProgress({ phase: this.#phase, received, total, rate, decoded, virtualSize, dataSize })
  }
}
