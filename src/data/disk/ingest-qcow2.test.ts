import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { Refusal } from '#base/refusal.ts'
import { Qcow2Writer } from '../../../test/support/qcow2-writer.ts'
import type { IngestContext } from './ingest-context.ts'
import { ingestQcow2 } from './ingest-qcow2.ts'

test('ingest: what ends a qcow2 while blocks are waited for, and not its bytes, is the reason of the end', async () => {
  const size = 65536
  const writer = new Qcow2Writer({ size })
  writer.data(0, new Uint8Array(size).fill(1))
  const file = writer.build()
  const storing = Promise.withResolvers<void>()
  async function* damagedAtItsEnd() {
    yield file
    await storing.promise
    throw new Refusal('checksum', 'the checksum is wrong')
  }
  const submitSpool = async () => {
    storing.resolve()
    // Long enough for a rejection that nobody handles to end the process.
    for (let turns = 0; turns < 5; turns++) await turn()
  }
  const stopped: unknown[] = []
  const context = {
    limits: DEFAULT_LIMITS,
    signal: new AbortController().signal,
    spoolDirectory: tmpdir(),
    meter: {},
    pipeline: { submitSpool },
    stop: (reason: unknown) => void stopped.push(reason),
  } as unknown as IngestContext
  const reading = ingestQcow2(damagedAtItsEnd(), { size: file.length, limit: file.length }, context)
  await assert.rejects(reading, { category: 'checksum' })
  assert.equal(stopped.length, 1)
})
