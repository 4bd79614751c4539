import { LibraryError } from '#base/errors.ts'
import type { Terms } from './negotiation.ts'
import {
  blockStatusChunk,
  COMMAND,
  dataChunk,
  doneChunk,
  ERROR,
  errorChunk,
  holeChunk,
  READ_MAX,
  REQUEST_ONE,
  REQUEST_SIZE,
  type Request,
  readRequest,
  simpleReply,
} from './protocol.ts'
import { Hangup, type Turn } from './wire.ts'

/** Commands of one connection that are answered at a time; each holds a block at most. */
const AT_ONCE = 16
/** Extents in one reply. */
const EXTENTS_MAX = 4096

/** What connections may have beyond what each has anyway. */
export class Budget {
  readonly #whole: Budget | undefined
  #left: number

  /** @param whole what this is a part of: who takes from the part takes from that */
  constructor(count: number, whole?: Budget) {
    this.#left = count
    this.#whole = whole
  }

  take(): boolean {
    if (this.#left === 0 || this.#whole?.take() === false) return false
    this.#left--
    return true
  }

  giveBack(): void {
    this.#left++
    this.#whole?.giveBack()
  }
}

export interface TransmissionDeps {
  readonly terms: Terms
  /** Commands at work beyond the one that each connection may always have. */
  readonly budget: Budget
  /** Ends all work of this connection. */
  readonly signal: AbortSignal
  /** Ends the connection where a reply cannot be finished. */
  readonly hangUp: () => void
  readonly onBug: (error: unknown) => void
}

/**
 * Answers commands, several at a time and as they are done, until the client takes its leave.
 * @throws Hangup where it just leaves, or sends what is no command
 */
export async function transmit(deps: TransmissionDeps): Promise<void> {
  const { terms, budget } = deps
  const running = new Set<Promise<void>>()
  try {
    for (;;) {
      const request = readRequest(await terms.wire.read(REQUEST_SIZE))
      if (!request) throw new Hangup()
      if (request.command === COMMAND.disconnect) return
      if (request.command === COMMAND.write) await skipPayload(terms, request)
      while (running.size >= AT_ONCE || (running.size > 0 && !budget.take())) await Promise.race(running)
      const isExtra = running.size > 0
      const answering = answer(deps, request).finally(() => {
        running.delete(answering)
        if (isExtra) budget.giveBack()
      })
      running.add(answering)
    }
  } finally {
    await Promise.all(running)
  }
}

/** What was to be written comes in any case, and must be passed over to find the next command. */
async function skipPayload({ wire }: Terms, { length }: Request): Promise<void> {
  if (length > READ_MAX) throw new Hangup()
  await wire.skip(length)
}

/** Never rejects. */
async function answer(deps: TransmissionDeps, request: Request): Promise<void> {
  const { terms, hangUp, onBug } = deps
  try {
    try {
      await carryOut(deps, request)
    } catch (error) {
      if (error instanceof Hangup) throw error
      if (!(error instanceof LibraryError)) onBug(error)
      const message = error instanceof LibraryError ? error.message : 'internal error'
      await refuse(terms, request, ERROR.io, message)
    }
  } catch (error) {
    if (!(error instanceof Hangup)) onBug(error)
    hangUp()
  }
}

async function carryOut(deps: TransmissionDeps, request: Request): Promise<void> {
  const { terms } = deps
  const { command, flags, cookie } = request
  switch (command) {
    case COMMAND.read:
      if (flags !== 0 || request.length > READ_MAX || !isWithin(terms, request)) break
      return terms.isStructured ? await readInChunks(deps, request) : await readAtOnce(deps, request)
    case COMMAND.blockStatus:
      if (!terms.hasAllocation || (flags & ~REQUEST_ONE) !== 0 || !isWithin(terms, request)) break
      return await tellStatus(deps, request)
    case COMMAND.flush:
      return await terms.wire.send(terms.isStructured ? doneChunk(cookie) : simpleReply(cookie))
    case COMMAND.write:
    case COMMAND.trim:
    case COMMAND.writeZeroes:
      return await refuse(terms, request, ERROR.notPermitted, 'this export is read-only')
  }
  await refuse(terms, request, ERROR.invalid, 'no such command, flag or range')
}

function isWithin({ disk }: Terms, { offset, length }: Request): boolean {
  return length > 0 && offset + BigInt(length) <= BigInt(disk.size)
}

function refuse(
  { wire, isStructured }: Terms,
  { cookie }: Request,
  error: number,
  why: string,
): Promise<void> {
  return wire.send(isStructured ? errorChunk(cookie, error, why) : simpleReply(cookie, error))
}

/** Zeros are said in a few bytes; between the chunks of one reply, others may go out. */
async function readInChunks({ terms, signal }: TransmissionDeps, request: Request): Promise<void> {
  const { disk, wire } = terms
  const { cookie } = request
  let at = Number(request.offset)
  const end = at + request.length
  const of = (length: number) => ({ cookie, isLast: at + length === end })
  while (at < end) {
    for (const { length, isZero } of await disk.status(at, end - at, EXTENTS_MAX, signal)) {
      if (isZero) {
        await wire.send(holeChunk(of(length), at, length))
        at += length
        continue
      }
      for await (const bytes of disk.read(at, length, signal)) {
        await wire.send(dataChunk(of(bytes.length), at, bytes.length), bytes)
        at += bytes.length
      }
    }
  }
}

/** Once the first bytes are there, nothing can be said of what fails but by ending the connection. */
async function readAtOnce({ terms, signal }: TransmissionDeps, request: Request): Promise<void> {
  const { disk, wire } = terms
  const { cookie, length } = request
  let turn: Turn | undefined
  try {
    for await (const bytes of disk.read(Number(request.offset), length, signal)) {
      if (turn) await turn.write(bytes)
      else {
        turn = await wire.turn()
        await turn.write(simpleReply(cookie), bytes)
      }
    }
  } catch (error) {
    throw turn ? new Hangup() : error
  } finally {
    turn?.[Symbol.dispose]()
  }
}

async function tellStatus({ terms, signal }: TransmissionDeps, request: Request): Promise<void> {
  const { cookie, flags, length } = request
  const most = flags & REQUEST_ONE ? 1 : EXTENTS_MAX
  const parts = await terms.disk.status(Number(request.offset), length, most, signal)
  await terms.wire.send(blockStatusChunk(cookie, parts))
}
