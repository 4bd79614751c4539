import type { Timestamp } from '#model/orbit.ts'

/** `1234567890.12345`, as X-Timestamp has it. */
export const printTimestamp = (at: Timestamp): string =>
  `${Math.floor(at / 1e6)}.${String(Math.floor((at % 1e6) / 10)).padStart(5, '0')}`

/** As Last-Modified has it: rounded up, so that nothing changes after it. */
export const printHttpDate = (at: Timestamp): string => new Date(lastModifiedSecond(at) * 1000).toUTCString()

/** Seconds since 1970, as Last-Modified says it. */
export const lastModifiedSecond = (at: Timestamp): number => Math.ceil(at / 1e6)

/** `2026-11-23T03:43:47.213490`, as listings have it; UTC without saying so. */
export const printIsoDate = (at: Timestamp): string =>
  `${new Date(Math.floor(at / 1e6) * 1000).toISOString().slice(0, 19)}.${String(at % 1e6).padStart(6, '0')}`
