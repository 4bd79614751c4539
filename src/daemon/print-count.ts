import { MiB } from '#base/bytes.ts'

/** `1 block`, `2 blocks`. */
export const count = (number: number, word: string): string => `${number} ${word}${number === 1 ? '' : 's'}`

export const printMib = (bytes: number): string => `${(bytes / MiB).toFixed(1)} MiB`
