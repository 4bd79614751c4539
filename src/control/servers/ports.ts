import { LibraryError } from '#base/errors.ts'
import type { ServerSettings } from './deps.ts'

/** The lowest port of the range that is not taken. @throws unavailable where all are */
export function freePort(taken: Iterable<number>, { first, last }: ServerSettings['sshPorts']): number {
  const used = new Set(taken)
  for (let port = first; port <= last; port++) if (!used.has(port)) return port
  throw new LibraryError('unavailable', `all ports for SSH from ${first} to ${last} are taken`, {
    hint: 'Destroy servers that are no longer needed, or ask the operator for more ports.',
  })
}
