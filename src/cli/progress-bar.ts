import { printable } from './failure.ts'
import type { Terminal } from './terminal.ts'
import { printBytes, printSeconds } from './units.ts'

const REDRAW_MS = 100
const PLAIN_LINE_MS = 5000
const BAR_LENGTH = 24

/** How far something is; null where nobody knows. Bytes, bytes per second, seconds. */
export interface Step {
  readonly phase: string
  readonly percent: number | null
  readonly bytesDone: number
  readonly bytesTotal: number | null
  readonly rate: number | null
  readonly etaSeconds: number | null
  readonly attempt?: number
  /** Why the attempt before failed. */
  readonly message?: string | null
}

/** Progress in words: `receiving 42%, 120.0 MiB of 285.7 MiB, 34.1 MiB/s, 5s left`, `waiting 0%, attempt 2: Why.` */
export function printStep(step: Step): string {
  const total = step.bytesTotal === null ? '' : ` of ${printBytes(step.bytesTotal)}`
  const parts = [
    step.percent === null ? step.phase : `${step.phase} ${Math.floor(step.percent)}%`,
    step.bytesDone > 0 || step.bytesTotal !== null ? `${printBytes(step.bytesDone)}${total}` : '',
    step.rate === null || step.rate <= 0 ? '' : `${printBytes(step.rate)}/s`,
    step.etaSeconds === null || step.percent === 100 ? '' : `${printSeconds(step.etaSeconds)} left`,
    step.attempt !== undefined && step.attempt > 1 ? `attempt ${step.attempt}` : '',
  ]
  return parts.filter(Boolean).join(', ') + (step.message ? `: ${printable(step.message)}` : '')
}

export interface ProgressBar {
  show(step: Step): void
  /** Ends the line of the bar, so that what follows begins on its own. */
  end(): void
}

/** A bar that redraws itself on a terminal; else a line at each phase and every few seconds. */
export function createProgressBar(
  terminal: Pick<Terminal, 'status' | 'statusWidth'>,
  label: string,
  now: () => number = Date.now,
): ProgressBar {
  const width = terminal.statusWidth
  let drawnAt = Number.NEGATIVE_INFINITY
  let phase: string | undefined
  let line = ''
  return {
    show(step) {
      const changed = step.phase !== phase
      const wait = width === null ? PLAIN_LINE_MS : REDRAW_MS
      if (!changed && now() - drawnAt < wait && step.percent !== 100) return
      const text = width === null ? `${label}: ${printStep(step)}` : printBar(label, step, width)
      if (text === line) return
      terminal.status(width === null ? `${text}\n` : `\r${text}\u001b[K`)
      ;[phase, line, drawnAt] = [step.phase, text, now()]
    },
    end() {
      if (width !== null && line !== '') terminal.status('\n')
      line = ''
    },
  }
}

function printBar(label: string, step: Step, width: number): string {
  const filled = Math.round(((step.percent ?? 0) / 100) * BAR_LENGTH)
  const bar = step.percent === null ? '' : `[${'#'.repeat(filled).padEnd(BAR_LENGTH, '-')}] `
  const text = `${label} ${bar}${printStep(step)}`
  return text.length < width ? text : `${label} ${printStep(step)}`.slice(0, Math.max(0, width - 1))
}

/** Measures a transfer: the rate over the last seconds, and what is left of it. */
export function createMeter(bytesTotal: number | null, start: number, now: () => number = Date.now) {
  const WINDOW_MS = 5000
  const marks: { at: number; bytes: number }[] = [{ at: now(), bytes: start }]
  return (phase: string, bytesDone: number): Step => {
    const at = now()
    if (at - (marks.at(-1)?.at ?? 0) >= REDRAW_MS) marks.push({ at, bytes: bytesDone })
    while (marks.length > 2 && at - (marks[0]?.at ?? 0) > WINDOW_MS) marks.shift()
    const first = marks[0] ?? { at, bytes: bytesDone }
    const rate = at > first.at ? ((bytesDone - first.bytes) * 1000) / (at - first.at) : null
    const left = bytesTotal === null ? null : bytesTotal - bytesDone
    return {
      phase,
      percent: bytesTotal === null ? null : bytesTotal === 0 ? 100 : (bytesDone / bytesTotal) * 100,
      bytesDone,
      bytesTotal,
      rate,
      etaSeconds: left === null || !rate ? null : left / rate,
    }
  }
}
