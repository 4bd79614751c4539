import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Where a connection is cut: before a statement is sent on, or once it was carried out but before its answer. */
export interface Cut {
  /** Counted from 1 over all connections, from when it is set. */
  readonly at: number
  readonly when: 'before' | 'after'
}

/** Lies between clients and a PostgreSQL server, and cuts a connection at one statement. */
export interface CuttingProxy extends AsyncDisposable {
  /** Of its socket. */
  readonly folder: string
  cut(cut: Cut | undefined): void
  /** Whether it has. */
  readonly hasCut: boolean
}

const SOCKET = '.s.PGSQL.5432'
/** The first byte of what a client sends: a query, or one that is prepared first. */
const STATEMENTS = ['Q', 'P'].map((letter) => letter.charCodeAt(0))

/** @param server the folder of the server's socket */
export async function startCuttingProxy(server: string): Promise<CuttingProxy> {
  const folder = await mkdtemp(join(tmpdir(), 'cut-'))
  const state: { cut: Cut | undefined; count: number; hasCut: boolean } = {
    cut: undefined,
    count: 0,
    hasCut: false,
  }
  const sockets = new Set<Socket>()
  const listener = createServer((client) => {
    const upstream = createConnection(join(server, SOCKET))
    let isDue = false
    const end = () => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', end).on('close', () => {
        sockets.delete(socket)
        end()
      })
    }
    client.on('data', (chunk) => {
      if (STATEMENTS.includes(chunk[0] ?? 0) && ++state.count === state.cut?.at) {
        state.hasCut = true
        if (state.cut.when === 'before') return end()
        isDue = true
      }
      upstream.write(chunk)
    })
    upstream.on('data', (chunk) => (isDue ? end() : client.write(chunk)))
  })
  await new Promise<void>((resolve) => listener.listen(join(folder, SOCKET), resolve))
  return {
    folder,
    cut(cut) {
      Object.assign(state, { cut, count: 0, hasCut: false })
    },
    get hasCut() {
      return state.hasCut
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => listener.close(resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
