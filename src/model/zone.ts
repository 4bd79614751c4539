/** A part of the cloud that fails on its own. */
export interface Zone {
  readonly id: string
  readonly handle: string
}
