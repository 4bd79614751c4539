import type { IncomingMessage } from 'node:http'

/** How many times the connection is looked at before a body counts as silent. */
const LOOKS = 4
/** Bytes per second; fewer are silence, or one byte now and then would hold a connection for ever. */
const SLOWEST = 17

/** Watches the bodies of requests while they come in, whoever reads them. */
export interface BodyWatch {
  /**
   * Watches one body.
   * @param onSilent called once its client sends hardly any of the bytes it owes for too long; by default breaks the
   *   connection
   */
  watch(raw: IncomingMessage, onSilent?: () => void): void
  /** Breaks the connections of all bodies that are not complete. */
  breakOff(): void
}

/** @param silenceMs longest time without a kibibyte; it is noticed at most a quarter later */
export function createBodyWatch(silenceMs: number): BodyWatch {
  const coming = new Set<IncomingMessage>()
  const least = Math.max(1, Math.floor((SLOWEST * silenceMs) / LOOKS / 1000))
  return {
    watch(raw, onSilent = () => raw.destroy()) {
      if (!hasBody(raw)) return
      coming.add(raw)
      let seen = raw.socket.bytesRead
      let quiet = 0
      const timer = setInterval(() => {
        if (raw.complete) return end()
        // Bytes that wait to be read are our delay, not the client's.
        const isSilent = raw.socket.bytesRead - seen < least && raw.readableLength === 0
        seen = raw.socket.bytesRead
        quiet = isSilent ? quiet + 1 : 0
        if (quiet < LOOKS) return
        end()
        onSilent()
      }, silenceMs / LOOKS).unref()
      const end = () => {
        clearInterval(timer)
        coming.delete(raw)
      }
      raw.once('close', end)
    },
    breakOff() {
      for (const raw of coming) if (!raw.complete) raw.destroy()
    },
  }
}

/** Says whether a request announces a body, which may turn out to be empty where it comes in chunks. */
export function hasBody({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}
