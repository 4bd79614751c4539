import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, constants, openSync } from 'node:fs'
import { connect, createServer, type OnReadOpts, type Socket } from 'node:net'
import { MachineFault } from '#base/machine-fault.ts'
import { type StartedDecoder, type StartOptions, startDecoder } from './start-decoder.ts'

/** Where the threads of one registration get decoder processes, one for each connection. */
export interface DecoderHost {
  /** What `connectDecoder` takes, in any thread of this process. */
  readonly address: string
  /**
   * Ends all processes, whatever they are doing, and waits until they are gone.
   * @returns why the first went, of those that went by themselves
   */
  close(): Promise<Error | undefined>
}

/**
 * Starts decoder processes for threads, from the main thread: so they can be ended and waited for when a thread is
 * ended in the middle. It listens on a socket that only this process's user can reach, and hands each connection to
 * a new process.
 * @param folder where the socket lies, closed to other users
 */
export function createDecoderHost(folder: string, options: StartOptions = {}): DecoderHost {
  // By way of a descriptor, the path may be longer than the 107 bytes that a socket's address holds.
  const directory = openFolder(folder)
  const address = `/proc/self/fd/${directory}/${randomUUID()}.decoders`
  const started: StartedDecoder[] = []
  let fault: Error | undefined
  let unstarted: Error | undefined
  const server = createServer({ pauseOnConnect: true }, (connection) => {
    try {
      started.push(startDecoder(connection, options))
    } catch (error) {
      // Most of what keeps a process from starting it says later; what is thrown here would end the whole library.
      unstarted ??= noDecoders(error)
    }
    // It is the process that has it now.
    connection.destroy()
  })
  server.on('error', (error) => {
    fault = noDecoders(error)
  })
  server.listen(address)
  return {
    address,
    async close() {
      const closed = once(server, 'close')
      server.close()
      if (!fault) await closed
      closeSync(directory)
      const reasons = await Promise.all(
        started.map(async (decoder) => {
          await decoder[Symbol.asyncDispose]()
          return decoder.ended
        }),
      )
      return fault ?? unstarted ?? reasons.find((reason) => reason !== undefined)
    },
  }
}

function openFolder(folder: string): number {
  try {
    return openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  } catch (error) {
    throw noDecoders(error)
  }
}

function noDecoders(cause: unknown): MachineFault {
  return new MachineFault('start a decoder: the system does not let it be asked for', {
    cause,
    hint: 'Raise the limits on open files and processes; look at memory, and at the disk of the data folder.',
  })
}

/**
 * Has a process started by a host; what goes wrong with that ends the connection.
 * @param onread where its bytes go, where it is not read as a stream
 */
export const connectDecoder = (address: string, onread?: OnReadOpts): Socket =>
  connect({ path: address, ...(onread ? { onread } : {}) })
