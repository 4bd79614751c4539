import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PacketCutter } from './framing.ts'
import { FieldReader, MalformedPacket, PACKET_MAX, uint32Field } from './wire.ts'

const framed = (packet: Uint8Array) => Buffer.concat([uint32Field(packet.length), packet])

test('framing: packets come out as they went in, however they are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (packets, cuts) => {
        const stream = Buffer.concat(packets.map(framed))
        const received: Buffer[] = []
        const cutter = new PacketCutter((packet) => received.push(packet))
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const length = cuts[turn % cuts.length] ?? 1
          cutter.push(stream.subarray(at, at + length))
          at += length
        }
        assert.deepEqual(
          received.map((packet) => [...packet]),
          packets.map((packet) => [...packet]),
        )
      },
    ),
  )
})

test('framing: a length that no packet has ends it before anything is allocated', () => {
  for (const length of [0, PACKET_MAX + 1, 0xffff_ffff]) {
    const cutter = new PacketCutter(() => assert.fail('there is no packet'))
    assert.throws(() => cutter.push(uint32Field(length)), MalformedPacket)
  }
})

test('fields: a packet that ends within one is malformed, and offsets beyond all files are the same', () => {
  const fields = new FieldReader(Buffer.from([0, 0, 0, 5, 1, 2]), 0)
  assert.throws(() => fields.bytes(), MalformedPacket)
  assert.throws(() => new FieldReader(Buffer.alloc(3), 0).uint32(), MalformedPacket)
  assert.throws(() => new FieldReader(Buffer.alloc(7), 0).uint64(), MalformedPacket)
  assert.equal(new FieldReader(Buffer.alloc(8, 0xff), 0).uint64(), Number.MAX_SAFE_INTEGER)
})
