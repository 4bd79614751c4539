import { GiB, KiB, MiB, TiB } from '#base/bytes.ts'

const SIZES: Readonly<Record<string, number>> = { B: 1, KiB, MiB, GiB, TiB }
const TIMES: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3600_000, d: 86_400_000 }

/** Reads `200 GiB`, or `1048576` for bytes. @returns undefined where it is neither */
export const parseSize = (text: string): number | undefined => parseUnit(text, SIZES, 'B')

/** The same in MiB. @returns NaN, or a fraction, where it is not a number of whole MiB */
export const parseMib = (text: string): number => (parseSize(text) ?? Number.NaN) / MiB

/** Reads `30s`, `5 m`, `6h`, `500ms`, `30 d`. @returns milliseconds, or undefined where it has no unit that we know */
export const parseDuration = (text: string): number | undefined => parseUnit(text, TIMES, undefined)

/** In the largest unit that divides it: what `parseSize` reads. */
export const printSize = (bytes: number): string => printUnit(bytes, SIZES)

/** In the largest unit that divides it: what `parseDuration` reads. */
export const printDuration = (ms: number): string => printUnit(ms, TIMES)

function parseUnit(
  text: string,
  units: Readonly<Record<string, number>>,
  byDefault: string | undefined,
): number | undefined {
  const [, digits, word] = /^(\d{1,15})\s*([A-Za-z]*)$/.exec(text) ?? []
  const factor = units[word || (byDefault ?? '')]
  const value = factor === undefined ? Number.NaN : Number(digits) * factor
  return Number.isSafeInteger(value) ? value : undefined
}

function printUnit(value: number, units: Readonly<Record<string, number>>): string {
  const unit = Object.entries(units).findLast(([, factor]) => value >= factor && value % factor === 0)
  return unit ? `${value / unit[1]} ${unit[0]}` : String(value)
}
