const REDRAW_MS = 100
const DEFAULT_WIDTH = 80

/** What is used of stderr. */
export interface ProgressStream {
  readonly isTTY: boolean
  /** Of a terminal; 0 where it does not say. */
  readonly columns: number
  write(text: string): unknown
}

/** A line on a terminal that is written over ten times a second at most, and wiped at the end; elsewhere nothing. */
export function createProgressLine(stream: ProgressStream, now: () => number = Date.now) {
  let drawnAt = Number.NEGATIVE_INFINITY
  return {
    show(text: string): void {
      if (!stream.isTTY || now() - drawnAt < REDRAW_MS) return
      drawnAt = now()
      stream.write(`\r${text.slice(0, (stream.columns || DEFAULT_WIDTH) - 1)}\u001b[K`)
    },
    [Symbol.dispose](): void {
      if (drawnAt > Number.NEGATIVE_INFINITY) stream.write('\r\u001b[K')
    },
  }
}
