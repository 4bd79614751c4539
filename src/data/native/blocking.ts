import { readSync, writeSync } from 'node:fs'
import { faults } from './faults.ts'
import { CONNECTION } from './process-facts.ts'

/** Waits until all of the memory is filled from the connection. @throws Error where the user is gone */
export function readFully(target: Uint8Array): Uint8Array {
  let have = 0
  while (have < target.length) {
    const count = readSync(CONNECTION, target, have, target.length - have, null)
    if (count === 0) throw faults.gone()
    have += count
  }
  return target
}

/** Waits until all of the bytes are on their way. @throws Error where the user is gone */
export function writeFully(bytes: Uint8Array): void {
  let done = 0
  while (done < bytes.length) done += writeSync(CONNECTION, bytes, done, bytes.length - done)
}
