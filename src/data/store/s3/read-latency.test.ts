import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hedged, ReadLatency } from './read-latency.ts'

/** One that knows what is usual: so many milliseconds. */
function experienced(ms: number, reads = 256): ReadLatency {
  const latency = new ReadLatency()
  for (let count = 0; count < reads; count++) latency.add(ms)
  return latency
}

/** Waits until it is told otherwise. */
const straggler = (signal: AbortSignal) =>
  new Promise<string>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

test('reads: nobody knows what is slow before there were some', async () => {
  const latency = experienced(1, 40)
  assert.equal(latency.stragglerMs, undefined)
  let calls = 0
  assert.equal(await hedged(latency, async () => ++calls), 1)
})

test('reads: a straggler is asked for again, and the first answer counts', async () => {
  const latency = experienced(1)
  let calls = 0
  let aborted = 0
  const result = await hedged(latency, (signal) => {
    signal.addEventListener('abort', () => aborted++)
    return ++calls === 1 ? straggler(signal) : Promise.resolve('second')
  })
  assert.deepEqual([result, calls, aborted], ['second', 2, 2])
})

test('reads: the second one fails and the first succeeds', async () => {
  let finish: (value: string) => void = () => {}
  let calls = 0
  const result = await hedged(experienced(1), () => {
    if (++calls === 1) return new Promise<string>((resolve) => (finish = resolve))
    setImmediate(() => finish('first'))
    return Promise.reject(new Error('no'))
  })
  assert.equal(result, 'first')
})

test('reads: where both fail, it is told why', async () => {
  let calls = 0
  const failing = hedged(experienced(1), async (signal) => {
    if (++calls === 2) throw new Error('second')
    await new Promise((resolve) => setTimeout(resolve, 40))
    assert.ok(!signal.aborted)
    throw new Error('first')
  })
  await assert.rejects(failing, /first/)
})

test('reads: no more than three in a hundred are asked for twice, however slow all are', () => {
  const latency = experienced(1)
  let hedges = 0
  for (let count = 0; count < 1000; count++) {
    latency.add(1000)
    if (latency.mayHedge()) hedges++
  }
  assert.ok(hedges >= 20 && hedges <= 35, String(hedges))
})
