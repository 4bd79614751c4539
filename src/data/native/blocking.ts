import { readSync, writeSync } from 'node:fs'
import { CONNECTION } from './process-facts.ts'

/** Waits until all of the memory is filled from the connection. Ends the thread where the user is gone. */
export function readFully(target: Uint8Array): Uint8Array {
  let have = 0
  while (have < target.length) {
    const count = unlessGone(() => readSync(CONNECTION, target, have, target.length - have, null))
    if (count === 0) leave()
    have += count
  }
  return target
}

/** Waits until all of the bytes are on their way. Ends the thread where the user is gone. */
export function writeFully(bytes: Uint8Array): void {
  let done = 0
  while (done < bytes.length)
    done += unlessGone(() => writeSync(CONNECTION, bytes, done, bytes.length - done))
}

/** What a call says of a connection whose other end was closed. */
const GONE: readonly unknown[] = ['EPIPE', 'ECONNRESET']

function unlessGone(call: () => number): number {
  try {
    return call()
  } catch (error) {
    if (GONE.includes((error as { code?: unknown }).code)) leave()
    throw error
  }
}

/** Nobody is there for whom to go on, which is no fault: the thread, and the process with it. */
const leave = (): never => process.exit()
