/** A stored block or manifest that is not what its name says, or that is not there. */
export interface DamagedFileRow {
  /** `block` or `manifest`. */
  kind: string
  digest: string
  why: string
  found_at: number
}

/** A manifest that cannot be read wholly because of one. */
export interface DamageHurtRow {
  kind: string
  digest: string
  manifest: string
}
