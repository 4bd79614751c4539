import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { KiB } from '#base/bytes.ts'
import { createReceiveSlots } from './receive-slots.ts'
import { createBodyReader } from './response-body.ts'
import { createHeadReader, MAX_HEAD_SIZE } from './response-head.ts'

/** Feeds bytes in pieces as the cuts say, through head and body as the network would. */
function receive(bytes: Uint8Array, cuts: readonly number[]) {
  const headReader = createHeadReader()
  let body: ReturnType<typeof createBodyReader> | undefined
  const parts: Buffer[] = []
  const feed = (piece: Uint8Array) => {
    body?.feed(piece, (start, end) => parts.push(Buffer.from(piece.subarray(start, end))))
  }
  let at = 0
  for (const cut of [...cuts, bytes.length]) {
    const piece = bytes.subarray(at, Math.min(Math.max(at, cut), bytes.length))
    at += piece.length
    if (body) {
      feed(piece)
      continue
    }
    const bodyStart = headReader.feed(piece)
    if (bodyStart === undefined) continue
    body = createBodyReader(headReader.head().framing)
    feed(piece.subarray(bodyStart))
  }
  return { body, bytes: Buffer.concat(parts) }
}

const chunked = (pieces: readonly Uint8Array[], extension: string, trailer: string) =>
  Buffer.concat([
    Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n'),
    ...pieces.flatMap((piece) => [
      Buffer.from(`${piece.length.toString(16)}${extension}\r\n`),
      piece,
      Buffer.from('\r\n'),
    ]),
    Buffer.from(`0${extension}\r\n${trailer}\r\n`),
    Buffer.from('what nobody reads'),
  ])

test('response: wherever the network cuts a chunked answer, the body is the same', () => {
  const pieces = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 12 })
  const cuts = fc.array(fc.nat(2000), { maxLength: 60 })
  const extension = fc.constantFrom('', ';a=b', ' ; x')
  const trailer = fc.constantFrom('', 'A: b\r\n', 'A: b\r\nC: d\r\n')
  fc.assert(
    fc.property(pieces, cuts, extension, trailer, (content, places, ext, end) => {
      const { body, bytes } = receive(
        chunked(content, ext, end),
        places.sort((a, b) => a - b),
      )
      assert.ok(bytes.equals(Buffer.concat(content)))
      assert.equal(body?.isComplete, true)
    }),
  )
})

test('response: cut short anywhere, a body with a known end is never complete', () => {
  const whole = chunked([Buffer.from('hello'), Buffer.from('world')], '', '')
  const end = whole.indexOf('what')
  for (let length = 0; length < end; length++) {
    assert.notEqual(receive(whole.subarray(0, length), []).body?.mayEnd, true, `${length}`)
  }
  assert.equal(receive(whole.subarray(0, end), []).body?.mayEnd, true)
})

test('response: arbitrary bytes are refused or waited for, never a crash or a hang', () => {
  const letters = fc.constantFrom(...'HTTP/1.1 200 OK\r\n\r\n: ;0aFf\t\u0000x'.split(''))
  const text = fc.array(letters, { maxLength: 200 }).map((parts) => parts.join(''))
  const begin = fc.constantFrom(
    '',
    'HTTP/1.1 200 OK\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
  )
  fc.assert(
    fc.property(begin, text, fc.array(fc.nat(300)), (start, rest, cuts) => {
      try {
        receive(
          Buffer.from(start + rest, 'latin1'),
          cuts.sort((a, b) => a - b),
        )
      } catch (error) {
        assert.equal((error as { category?: string }).category, 'source')
      }
    }),
  )
})

test('response: damaged chunks are a lost connection, not an end', () => {
  const bodies = [
    '\r\n',
    'x\r\n',
    '-1\r\n',
    '0x5\r\n',
    ' 5\r\n',
    '5\rx',
    '5\n\nhello',
    '5\r\nhelloX',
    '5\r\nhello\r\r\n',
  ]
  const tooLong = [`${'0'.repeat(14)}\r\n`, `5;${'x'.repeat(KiB)}\r\n`, `0\r\n${'A: b\r\n'.repeat(4000)}`]
  for (const text of [...bodies, ...tooLong]) {
    const answer = Buffer.from(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${text}`)
    assert.throws(() => receive(answer, []), { name: 'ConnectionLost' }, JSON.stringify(text.slice(0, 20)))
  }
})

test('response head: names are met in any case, doubles and strange values are not told', () => {
  const reader = createHeadReader()
  const text =
    'HTTP/1.1 200\r\nETAG:"a"\r\nX: 1\r\nx: 2\r\nY: caf\u00e9\r\nLocation: caf\u00e9\r\nContent-Length: 7, 7\r\n\r\n'
  assert.equal(reader.feed(Buffer.from(text, 'latin1')), text.length)
  const head = reader.head()
  assert.equal(head.status, 200)
  assert.deepEqual(head.framing, { kind: 'length', length: 7 })
  assert.equal(head.header('etag'), '"a"')
  assert.equal(head.header('x'), undefined)
  assert.equal(head.header('y'), undefined)
  assert.equal(head.header('location'), 'caf\u00e9')
  assert.equal(head.header('constructor'), undefined)
})

test('response head: the limit counts all heads together, to the byte', () => {
  const early = 'HTTP/1.1 103 Early\r\n\r\n'
  const fill = (length: number) => `HTTP/1.1 200 OK\r\nA: ${'x'.repeat(length - early.length - 24)}\r\n\r\n`
  const exact = Buffer.from(early + fill(MAX_HEAD_SIZE))
  assert.equal(exact.length, MAX_HEAD_SIZE)
  assert.equal(createHeadReader().feed(exact), MAX_HEAD_SIZE)
  assert.throws(() => createHeadReader().feed(Buffer.from(early + fill(MAX_HEAD_SIZE + 1))), {
    category: 'source',
  })
})

test('receive slots: what goes in comes out, in order, and stays until the next take', () => {
  const step = fc.oneof(
    fc.record({ read: fc.integer({ min: 1, max: 128 * KiB }), skip: fc.nat(20), gap: fc.nat(9) }),
    fc.constant('take' as const),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      let rested = 0
      const slots = createReceiveSlots(() => rested++)
      let sent = 0
      let taken = 0
      let held: { readonly bytes: Uint8Array; readonly first: number } | undefined
      const pattern = (index: number) => (index * 31 + (index >> 8)) & 0xff
      const checkHeld = () => {
        if (!held) return
        const { bytes, first } = held
        for (let index = 0; index < bytes.length; index += 97)
          assert.equal(bytes[index], pattern(first + index))
      }
      for (const action of steps) {
        if (action === 'take') {
          checkHeld()
          const bytes = slots.take()
          held = bytes && { bytes, first: taken }
          taken += bytes?.length ?? 0
        } else if (!slots.shouldRest) {
          const region = slots.region()
          const end = Math.min(action.read + action.skip, region.length)
          // Two pieces with framing before each, as chunks come.
          const middle = Math.max(action.skip, Math.floor(end / 2))
          const pieces = [
            [action.skip, middle - action.gap],
            [middle, end],
          ] as const
          for (const [from, to] of pieces) {
            for (let at = from; at < to; at++) region[at] = pattern(sent++)
          }
          for (const [from, to] of pieces) if (to > from) slots.append(from, to)
          slots.settle()
        }
      }
      checkHeld()
      for (let bytes = slots.take(); bytes; bytes = slots.take()) taken += bytes.length
      assert.equal(taken, sent)
      assert.ok(slots.isEmpty && !slots.shouldRest)
    }),
    { numRuns: 60 },
  )
})
