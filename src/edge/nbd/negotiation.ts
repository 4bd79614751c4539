import { LibraryError } from '#base/errors.ts'
import type { Exports, OpenExport } from './exports.ts'
import { OptionReader } from './option-reader.ts'
import {
  ALLOCATION,
  ALLOCATION_ID,
  CLIENT_FLAGS,
  exportReply,
  greeting,
  infoReplies,
  metaContextReply,
  OPTION,
  OPTION_HEAD_SIZE,
  optionReply,
  REFUSED,
  REPLY,
  readOptionHead,
  serverReply,
  TEXT_MAX,
  textOf,
} from './protocol.ts'
import { Hangup, type Wire } from './wire.ts'

/** Options of one connection. */
const OPTIONS_MAX = 64
/** Bytes of one option. */
const OPTION_MAX = 4 * TEXT_MAX

export interface NegotiationDeps {
  readonly wire: Wire
  readonly exports: Exports
  /** Where TLS is demanded: goes on over it, once the client was told to begin. */
  readonly startTls: (() => Promise<Wire>) | undefined
  readonly onBug: (error: unknown) => void
}

/** What was agreed on. */
export interface Terms extends AsyncDisposable {
  readonly wire: Wire
  readonly disk: OpenExport['disk']
  readonly isStructured: boolean
  /** Whether the client may ask where data is. */
  readonly hasAllocation: boolean
}

/**
 * Speaks the fixed newstyle handshake.
 * @throws Hangup where the client leaves, or does not speak it
 */
export async function negotiate(deps: NegotiationDeps): Promise<Terms> {
  const negotiation = new Negotiation(deps)
  try {
    return await negotiation.run()
  } catch (error) {
    await negotiation.close()
    throw error
  }
}

class Negotiation {
  readonly #exports: Exports
  readonly #startTls: NegotiationDeps['startTls']
  readonly #onBug: NegotiationDeps['onBug']
  #wire: Wire
  #isPlain = true
  #noZeroes = false
  #isStructured = false
  /** The export for which contexts were set. */
  #allocationOf: string | undefined
  #opened: { readonly name: string; readonly export: OpenExport } | undefined

  constructor({ wire, exports, startTls, onBug }: NegotiationDeps) {
    this.#wire = wire
    this.#exports = exports
    this.#startTls = startTls
    this.#onBug = onBug
  }

  async close(): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    await opened?.export[Symbol.asyncDispose]()
  }

  async run(): Promise<Terms> {
    await this.#wire.send(greeting())
    const flags = (await this.#wire.read(4)).readUInt32BE(0)
    const { fixedNewstyle, noZeroes } = CLIENT_FLAGS
    if ((flags & ~(fixedNewstyle | noZeroes)) !== 0 || !(flags & fixedNewstyle)) throw new Hangup()
    this.#noZeroes = (flags & noZeroes) !== 0
    for (let count = 0; count < OPTIONS_MAX; count++) {
      const head = readOptionHead(await this.#wire.read(OPTION_HEAD_SIZE))
      if (!head || head.length > OPTION_MAX) throw new Hangup()
      const terms = await this.#answer(head.option, await this.#wire.read(head.length))
      if (terms) return terms
    }
    throw new Hangup()
  }

  /** @returns what was agreed on, once it is */
  async #answer(option: number, data: Buffer): Promise<Terms | undefined> {
    const isAllowed =
      !this.#startTls || !this.#isPlain || option === OPTION.startTls || option === OPTION.abort
    if (!isAllowed) {
      if (option === OPTION.exportName) throw new Hangup()
      await this.#refuse(option, REFUSED.tlsRequired, 'TLS is needed here')
      return undefined
    }
    switch (option) {
      case OPTION.exportName:
        return await this.#answerExportName(data)
      case OPTION.info:
      case OPTION.go:
        return await this.#answerGo(option, data)
      case OPTION.abort:
        await this.#reply(option, REPLY.ack)
        throw new Hangup()
      case OPTION.list:
        await this.#answerList(option, data)
        return undefined
      case OPTION.startTls:
        await this.#answerStartTls(option, data)
        return undefined
      case OPTION.structuredReply:
        await this.#answerStructuredReply(option, data)
        return undefined
      case OPTION.setMetaContext:
      case OPTION.listMetaContext:
        await this.#answerMetaContext(option, data)
        return undefined
      default:
        await this.#refuse(option, REFUSED.unsupported, 'this option is not known')
        return undefined
    }
  }

  #reply(option: number, reply: number, data?: Uint8Array): Promise<void> {
    return this.#wire.send(optionReply(option, reply, data))
  }

  #refuse(option: number, reply: number, message: string): Promise<void> {
    return this.#reply(option, reply, textOf(message))
  }

  #agree(name: string): Terms {
    const opened = this.#opened
    if (!opened) throw new Hangup()
    this.#opened = undefined
    return {
      wire: this.#wire,
      disk: opened.export.disk,
      isStructured: this.#isStructured,
      hasAllocation: this.#isStructured && this.#allocationOf === name,
      [Symbol.asyncDispose]: () => opened.export[Symbol.asyncDispose](),
    }
  }

  /** This option has no way to say no. */
  async #answerExportName(data: Buffer): Promise<Terms> {
    const name = data.toString()
    if (data.length > TEXT_MAX || (await this.#open(name)) !== undefined) throw new Hangup()
    const terms = this.#agree(name)
    await using unused = new AsyncDisposableStack()
    unused.use(terms)
    await this.#wire.send(exportReply(terms.disk.size, this.#noZeroes))
    unused.move()
    return terms
  }

  async #answerGo(option: number, data: Buffer): Promise<Terms | undefined> {
    const reader = new OptionReader(data)
    const name = reader.text()
    const isWhole = reader.skip(2 * reader.count(2)) && reader.isAtEnd
    if (name === undefined || !isWhole) {
      await this.#refuse(option, REFUSED.invalid, 'the option is not whole')
      return undefined
    }
    const refusal = await this.#open(name)
    if (refusal) {
      await this.#refuse(option, refusal.reply, refusal.message)
      return undefined
    }
    const size = this.#opened?.export.disk.size ?? 0
    for (const info of infoReplies(size)) await this.#reply(option, REPLY.info, info)
    await this.#reply(option, REPLY.ack)
    return option === OPTION.go ? this.#agree(name) : undefined
  }

  /** Has the named export open. @returns how to refuse it, where it cannot be */
  async #open(name: string): Promise<{ reply: number; message: string } | undefined> {
    if (this.#opened?.name === name) return undefined
    await this.close()
    try {
      this.#opened = { name, export: await this.#exports.open(name) }
      return undefined
    } catch (error) {
      if (error instanceof Hangup) throw error
      if (error instanceof LibraryError) return { reply: refusalOf(error), message: error.message }
      this.#onBug(error)
      return { reply: REFUSED.unknown, message: 'open an export: internal error' }
    }
  }

  async #answerList(option: number, data: Buffer): Promise<void> {
    const names = this.#exports.list()
    if (data.length > 0) return await this.#refuse(option, REFUSED.invalid, 'the option has data')
    if (!names) return await this.#refuse(option, REFUSED.policy, 'the names of exports are secret')
    for (const name of names) await this.#reply(option, REPLY.server, serverReply(name))
    await this.#reply(option, REPLY.ack)
  }

  async #answerStartTls(option: number, data: Buffer): Promise<void> {
    if (!this.#startTls) return await this.#refuse(option, REFUSED.unsupported, 'there is no TLS here')
    if (!this.#isPlain || data.length > 0)
      return await this.#refuse(option, REFUSED.invalid, 'TLS is there, or the option has data')
    await this.#reply(option, REPLY.ack)
    // What came before TLS may be anybody's, and must not count as said over it.
    if (!this.#wire.release()) throw new Hangup()
    this.#wire = await this.#startTls()
    this.#isPlain = false
  }

  async #answerStructuredReply(option: number, data: Buffer): Promise<void> {
    if (data.length > 0) return await this.#refuse(option, REFUSED.invalid, 'the option has data')
    this.#isStructured = true
    await this.#reply(option, REPLY.ack)
  }

  async #answerMetaContext(option: number, data: Buffer): Promise<void> {
    const isSetting = option === OPTION.setMetaContext
    // Whatever comes of it, what was set before counts no more.
    if (isSetting) this.#allocationOf = undefined
    const reader = new OptionReader(data)
    const name = reader.text()
    const queries = reader.texts(reader.count(4))
    if (name === undefined || !queries || !reader.isAtEnd || (isSetting && !this.#isStructured))
      return await this.#refuse(option, REFUSED.invalid, 'the option is not whole, or comes too early')
    const refusal = await this.#open(name)
    if (refusal) return await this.#refuse(option, refusal.reply, refusal.message)
    const isAsked =
      queries.includes(ALLOCATION) || (!isSetting && (queries.length === 0 || queries.includes('base:')))
    if (isSetting && isAsked) this.#allocationOf = name
    if (isAsked) await this.#reply(option, REPLY.metaContext, metaContextReply(isSetting ? ALLOCATION_ID : 0))
    await this.#reply(option, REPLY.ack)
  }
}

function refusalOf({ code }: LibraryError): number {
  if (code === 'denied') return REFUSED.policy
  return code === 'unavailable' ? REFUSED.shutdown : REFUSED.unknown
}
