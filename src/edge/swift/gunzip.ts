import { type ByteStream, GiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { MachineFault } from '#base/machine-fault.ts'
import { Refusal } from '#base/refusal.ts'
import { decodeStream } from '#data/native/decode-stream.ts'
import { startDecoder } from '#data/native/start-decoder.ts'
import type { Exchange } from './exchange.ts'
import { SwiftProblem } from './reply.ts'
import { TarProblem } from './tar-reader.ts'

/** The most bytes that one archive may unpack to, and seconds of processor time that this may take. */
const UNPACKED = 64 * GiB
const SECONDS = 300

interface GunzipLimits {
  readonly unpacked: number
  readonly seconds: number
}

/**
 * Decodes a body in a process of its own, which is bounded in time and bytes.
 * @throws Busy where too many do that; MachineFault where the process could not begin, or was ended; TarProblem where
 * it cannot be done; what the body's stream throws
 */
export async function* gunzip(
  { caller, unpacking, log }: Pick<Exchange, 'caller' | 'unpacking' | 'log'>,
  body: ByteStream,
  { unpacked, seconds }: GunzipLimits = { unpacked: UNPACKED, seconds: SECONDS },
): AsyncGenerator<Uint8Array, void, void> {
  using share = unpacking.enter(caller?.session?.accountId ?? caller?.grant?.accountId ?? '')
  share.add(1)
  await using decoder = startDecoder('pipe', { cpuSeconds: seconds })
  try {
    yield* decodeStream(body, { kind: 'gzip', limit: unpacked }, { open: () => decoder.connection })
  } catch (error) {
    if (error instanceof SwiftProblem) throw error
    await decoder[Symbol.asyncDispose]()
    const reason = (await decoder.ended) ?? error
    if (reason instanceof Refusal && reason.category === 'too-large')
      throw new TarProblem(`it unpacks to more than ${unpacked} bytes`)
    if (reason instanceof MachineFault) throw reason
    if (reason instanceof LibraryError) throw new TarProblem(reason.message)
    log.error({ err: reason }, 'an archive was not unpacked')
    throw new TarProblem('it cannot be unpacked')
  }
}
