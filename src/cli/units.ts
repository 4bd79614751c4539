import { GiB, KiB, MiB, TiB } from '#base/bytes.ts'
import type { VolumeJson } from '#schema/volume.ts'
import { CommandError } from './failure.ts'

const UNITS = [
  ['TiB', TiB],
  ['GiB', GiB],
  ['MiB', MiB],
  ['KiB', KiB],
] as const

/** Bytes for people: `512 B`, `1.5 MiB`. */
export function printBytes(bytes: number): string {
  const unit = UNITS.find(([, size]) => bytes >= size)
  return unit ? `${(bytes / unit[1]).toFixed(1)} ${unit[0]}` : `${Math.round(bytes)} B`
}

/** How much of its image a volume has: `42%, 1.0 GiB of 2.4 GiB`, `100%, stands alone`. */
export function printFill(fill: VolumeJson['fill']): string {
  if (fill.stands_alone) return `${fill.percent}%, stands alone`
  return `${fill.percent}%, ${printBytes(fill.bytes_done)} of ${printBytes(fill.bytes_total)}`
}

/** Bytes per second since a time, in milliseconds since 1970: `34.1 MiB/s`. */
export const printRate = (bytes: number, startedAt: number): string =>
  `${printBytes((bytes * 1000) / Math.max(1, Date.now() - startedAt))}/s`

/** Seconds for people: `7s`, `2m 05s`, `3h 12m`. */
export function printSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const two = (number: number) => String(number).padStart(2, '0')
  if (whole < 60) return `${whole}s`
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`
  return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`
}

/** `2022-01-02T03:04Z`, as the official client prints times; nothing for none. */
export function printTime(time: string | null | undefined): string {
  const date = new Date(time ?? Number.NaN)
  return Number.isNaN(date.getTime()) ? '' : `${date.toISOString().slice(0, 16)}Z`
}

/** `2022-01-02`. */
export const printDate = (time: string | null | undefined): string => printTime(time).slice(0, 10)

/** @throws an error that says the rule, where the text is not a whole number */
export function parseWhole(text: string, name: string, unit: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new CommandError(`${name} must be a whole number of ${unit}, 0 or more`)
  return Number(text)
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Seconds of `90`, `30m`, `24h` or `7d`. @throws an error that says the rule */
export function parseDuration(text: string, name: string): number {
  const [, count, unit] = /^(\d{1,9})([smhd]?)$/.exec(text) ?? []
  const seconds = Number(count) * (SECONDS[unit || 's'] ?? 1)
  if (seconds > 0) return seconds
  throw new CommandError(`${name} must be a time such as 30m, 24h or 7d`)
}
