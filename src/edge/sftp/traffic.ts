import type { Socket } from 'node:net'
import { StoreClock, type StoreTimes } from '#data/store/measured.ts'

/** What a process did since it last said so. */
export interface Measured {
  readonly times: StoreTimes
  /** Bytes of connections, encrypted. */
  readonly received: number
  readonly sent: number
  /** Threads that died. */
  readonly deaths: number
}

/** Measures a process with connections. */
export class Traffic {
  readonly clock = new StoreClock()
  readonly #open = new Map<Socket, { read: number; written: number }>()
  #received = 0
  #sent = 0
  #deaths = 0

  watch(socket: Socket): void {
    this.#open.set(socket, { read: 0, written: 0 })
  }

  forget(socket: Socket): void {
    this.#look(socket)
    this.#open.delete(socket)
  }

  died(): void {
    this.#deaths++
  }

  /** Undefined where nothing happened. */
  take(): Measured | undefined {
    for (const socket of this.#open.keys()) this.#look(socket)
    const measured = {
      times: this.clock.take(),
      received: this.#received,
      sent: this.#sent,
      deaths: this.#deaths,
    }
    this.#received = 0
    this.#sent = 0
    this.#deaths = 0
    const { times, received, sent, deaths } = measured
    return times.length + received + sent + deaths > 0 ? measured : undefined
  }

  #look(socket: Socket): void {
    const seen = this.#open.get(socket)
    if (!seen) return
    this.#received += socket.bytesRead - seen.read
    this.#sent += socket.bytesWritten - seen.written
    seen.read = socket.bytesRead
    seen.written = socket.bytesWritten
  }
}
