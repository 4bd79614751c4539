import { isIPv6 } from 'node:net'
import { LibraryError } from '#base/errors.ts'

/** What to tell of a listener that could not be opened. @param flag that chooses another place */
export function listenError(cause: unknown, flag: string, host: string, port: number): unknown {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  const what = `listen on ${host} port ${port}`
  if (code === 'EADDRINUSE') {
    return new LibraryError('unavailable', `${what}: another program listens there already`, {
      cause,
      hint: `choose another port, for example ${flag} ${host}:${port + 1}`,
    })
  }
  if (code === 'EACCES') return new LibraryError('denied', `${what}: the system does not allow it`, { cause })
  if (code === 'EADDRNOTAVAIL') {
    return new LibraryError('invalid', `${what}: this machine does not have that address`, { cause })
  }
  return cause
}

/** How programs on this machine reach a listener, also one on every address; for a URL. */
export function reachable(address: string): string {
  const host = address === '0.0.0.0' || address === '::' ? '127.0.0.1' : address
  return isIPv6(host) ? `[${host}]` : host
}
