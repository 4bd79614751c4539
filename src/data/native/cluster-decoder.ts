import type { Duplex } from 'node:stream'
import { answerSize, type Batch, type BatchAnswer, parseAnswer, printBatch } from './batch.ts'
import { Conversation } from './conversation.ts'
import { ANSWER_MS, faults } from './faults.ts'
import { type DecodeOrder, MAX_FAILURE_SIZE, parseFailure, toJson } from './orders.ts'

/**
 * Decodes batches of compressed clusters, one after the other, in a process of its own. It is started with the first
 * batch, and is there until the thread ends that uses it.
 * @param open gives the connection to a decoder process
 * @param answerMs how long it may owe an answer, ms
 * @returns a function that throws Error where the process is gone, silent, or says what it may not
 */
export function createClusterDecoder(
  open: () => Duplex,
  answerMs = ANSWER_MS,
): (batch: Batch) => Promise<BatchAnswer> {
  let decoder: Conversation | undefined
  let before: Promise<unknown> = Promise.resolve()

  async function ask(batch: Batch): Promise<BatchAnswer> {
    const order: DecodeOrder = { kind: 'clusters' }
    const isFirst = decoder === undefined
    decoder ??= new Conversation(open())
    const timer = setTimeout(() => decoder?.close(faults.silent(answerMs)), answerMs)
    try {
      const sending = Promise.all([
        isFirst && decoder.send('order', toJson(order)),
        decoder.send('data', ...printBatch(batch)),
      ])
      // Why it takes no more, its answer says.
      sending.catch(() => {})
      const answer = parseAnswer(await receive(decoder, answerSize(batch)), batch)
      await sending
      return answer
    } finally {
      clearTimeout(timer)
    }
  }

  return (batch) => {
    const answer = before.then(() => ask(batch))
    before = answer.catch(() => {})
    return answer
  }
}

async function receive(decoder: Conversation, limit: number): Promise<Uint8Array> {
  const { kind, length } = await decoder.receive()
  if (kind === 'data' && length <= limit) return decoder.body(length)
  if (kind === 'failed' && length <= MAX_FAILURE_SIZE) throw parseFailure(await decoder.body(length))
  throw faults.notAnAnswer()
}
