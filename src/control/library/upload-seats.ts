import { Shares } from '#base/shares.ts'

/** Places for uploads of any kind that are under way in a process: each holds memory at its client's pace. */
export const createUploadSeats = (total: number): Shares =>
  new Shares({ total, busy: 'too many uploads are under way' })
