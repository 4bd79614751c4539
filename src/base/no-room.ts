import { LibraryError } from './errors.ts'

/** Bytes of a file system. */
export interface Shortage {
  readonly wanted: number
  readonly free: number
  /** Of the free ones, those that others were promised. */
  readonly promised: number
  /** Of the free ones, those that stay free. */
  readonly kept: number
}

/** The file system of the data folder has no room for what was announced; it may have, once others are done. */
export class NoRoom extends LibraryError {
  constructor({ wanted, free, promised, kept }: Shortage) {
    const others = promised === 0 ? '' : `${promised} are promised to others, `
    super(
      'unavailable',
      `the storage is too full for ${wanted} bytes more: ${free} are free, ${others}${kept} must stay free`,
      {
        hint: 'Free space on the file system of the data folder: image-library collect deletes what nothing needs.',
      },
    )
    this.name = 'NoRoom'
  }
}
