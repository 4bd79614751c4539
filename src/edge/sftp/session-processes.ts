import { type ChildProcess, fork } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import type { OpenDesk } from './desk.ts'
import type { FromProcess, ProcessSetup, ToProcess } from './process-messages.ts'
import { answerCall } from './rpc.ts'
import type { Measured } from './traffic.ts'

/**
 * Every packet leaves memory outside of the heap behind, a GiB of it for each GiB. With a small young heap it is
 * picked up soon, and at little cost; threads that help with that take more time than they save. Measured: a third
 * less of processor time for a transfer.
 */
const HEAP = ['--max-semi-space-size=1', '--single-threaded-gc']
/** How long a process that was told to stop may take once its connections are closed. */
const EXIT_MS = 5_000

/** Who counts. */
export interface SftpObserver {
  /** Of all processes, some of it at a time. */
  readonly onMeasured: (measured: Measured) => void
  /** A connection was let in, or is gone. */
  readonly onConnection: (by: 1 | -1) => void
  /** A process ended by itself. */
  readonly onDeath: () => void
}

export interface SessionProcessesDeps {
  readonly observer?: SftpObserver | undefined
  /** As many at most; each is started when there is a connection for it. */
  readonly count: number
  readonly setup: ProcessSetup
  /** Makes what answers one process. */
  readonly openDesk: () => OpenDesk
  readonly log: Logger
  /** For tests. */
  readonly startProcess?: typeof fork
}

/** The processes that have the connections. */
export interface SessionProcesses {
  /** Hands a connection to the one that has fewest. @param onClosed once it is gone, with its process or without */
  give(socket: Socket, address: string, onClosed: () => void): void
  /** Ends connections and processes; resolves when all is done. */
  stop(graceMs: number): Promise<void>
}

/** One process with its connections, by number. */
interface Running {
  readonly child: ChildProcess
  readonly desk: OpenDesk
  readonly connections: Map<number, () => void>
  readonly ended: Promise<void>
}

export function createSessionProcesses(deps: SessionProcessesDeps): SessionProcesses {
  const { count, setup, openDesk, log, observer, startProcess = fork } = deps
  const running = new Set<Running>()
  let last = 0

  function start(): Running {
    const child = startProcess(new URL('./session-process.ts', import.meta.url), {
      serialization: 'advanced',
      execArgv: [...process.execArgv, ...HEAP],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const desk = openDesk()
    const connections = new Map<number, () => void>()
    const ended = Promise.withResolvers<void>()
    const self: Running = { child, desk, connections, ended: ended.promise }
    child.on('message', (message: FromProcess) => receive(self, message))
    const end = () => {
      running.delete(self)
      for (const onClosed of connections.values()) onClosed()
      connections.clear()
      desk[Symbol.asyncDispose]().then(ended.resolve, ended.reject)
    }
    child.on('error', (error) => {
      log.error({ err: error }, 'a process for SFTP cannot be reached')
      // One that the system did not start never exits.
      if (child.pid === undefined) end()
    })
    child.once('exit', (code, signal) => {
      if (code !== 0) {
        log.error({ code, signal }, 'a process for SFTP ended; its connections are gone')
        observer?.onDeath()
      }
      end()
    })
    running.add(self)
    tell(self, { kind: 'setup', ...setup })
    return self
  }

  function receive(self: Running, message: FromProcess): void {
    if (message.kind === 'call') {
      answerCall(self.desk, message, (error) => log.error({ err: error }, 'SFTP request failed'))
        .then((answer) => tell(self, answer))
        .catch((error) => log.error({ err: error }, 'SFTP request failed'))
    } else if (message.kind === 'closed') {
      self.connections.get(message.id)?.()
      self.connections.delete(message.id)
    } else if (message.kind === 'measured') observer?.onMeasured(message)
    else {
      const { message: text, stack, address: ip } = message
      log.error({ err: { type: 'Error', message: text, stack }, ip }, 'SFTP connection failed')
    }
  }

  function tell({ child }: Running, message: ToProcess, socket?: Socket): void {
    if (!child.connected) return void socket?.destroy()
    child.send(message, socket, {}, (error) => {
      if (error) socket?.destroy()
    })
  }

  function leastBusy(): Running {
    const [first] = [...running].sort((a, b) => a.connections.size - b.connections.size)
    return first && (first.connections.size === 0 || running.size >= count) ? first : start()
  }

  return {
    give(socket, address, onClosed) {
      let process: Running
      try {
        process = leastBusy()
      } catch (error) {
        log.error({ err: error }, 'a process for SFTP cannot be started')
        socket.destroy()
        return onClosed()
      }
      const id = ++last
      process.connections.set(id, () => {
        // One that was never taken over is still ours.
        socket.destroy()
        onClosed()
      })
      tell(process, { kind: 'connection', id, address }, socket)
    },

    async stop(graceMs) {
      await Promise.all(
        [...running].map(async (self) => {
          tell(self, { kind: 'stop', graceMs })
          const timer = setTimeout(() => self.child.kill('SIGKILL'), graceMs + EXIT_MS)
          await self.ended
          clearTimeout(timer)
        }),
      )
    },
  }
}
