import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { printShow, printSimple, printTable, shareWidth } from './table.ts'
import { tableWidth } from './terminal.ts'

const widthOf = (text: string) => Math.max(...text.split('\n').map((line) => [...line].length))

test('table: a wide column is cut with dots, and ids never', () => {
  const rows = [
    { id: 'img-12345', name: 'x'.repeat(200) },
    { id: 'img-23456', name: 'short' },
  ]
  const { text, warning } = printTable(['id', 'name'], rows, 60)
  assert.equal(warning, undefined)
  assert.match(text, /\n img-12345 {2}x{43}\.\.\.\n img-23456 {2}short {41}\n/)
  assert.equal(widthOf(text), 59)
})

test('table: no rows are an empty line', () => {
  assert.equal(printTable(['id'], [], 80).text, '\n')
})

test('table: null is nothing, and control characters cannot break a line', () => {
  const { text } = printTable(['id', 'a'], [{ id: null, a: 'x\ny\tz\u001b' }], 80)
  assert.match(text, /\n {5}x\\ny\\tz\\x1b\n/)
})

test('table: characters count, not their UTF-16 units', () => {
  const { text } = printTable(['name', 'b'], [{ name: '𝒳𝒳𝒳𝒳𝒳𝒳', b: 'c' }], 80)
  assert.match(text, /\n name {4}b\n-{11}\n 𝒳{6} {2}c\n/u)
})

test('table: too narrow a terminal gets one value a line, and a warning', () => {
  const { text, warning } = printTable(['id', 'status'], [{ id: 'img-12345', status: 'private' }], 9)
  assert.match(text, /^\*+ 1\. row \*+\n {4}id: img-12345\nstatus: private\n$/)
  assert.match(warning ?? '', /^WARN: /)
})

test('table: columns fill the room and never pass it, whatever their lengths', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 9 })
  fc.assert(
    fc.property(lengths, fc.integer({ min: 30, max: 250 }), (wanted, room) => {
      if (wanted.length > room / 3) return
      const fields = wanted.map((_, index) => `f${index}`)
      const widths = shareWidth(fields, wanted, room)
      const total = widths.reduce((sum, width) => sum + width, 0)
      assert.ok(total <= Math.max(room, 0), `${widths} in ${room}`)
      assert.ok(
        widths.every((width, column) => width > 0 && width <= (wanted[column] ?? 0)),
        String(widths),
      )
      const all = wanted.reduce((sum, length) => sum + length, 0)
      if (all <= room) assert.deepEqual(widths, wanted)
    }),
  )
})

test('simple and show: tabs between values, labels to the right', () => {
  assert.equal(printSimple(['a', 'b', 'c'], [{ a: 1, b: null, c: true }]), '1\t\ttrue\n')
  const record = [
    ['id', 1],
    ['status', 'x'],
  ] as const
  assert.equal(printShow([record]), '    id: 1\nstatus: x\n')
  assert.equal(printShow([record, record]), '    id: 1\nstatus: x\n\n    id: 1\nstatus: x\n\n')
})

test('width: COLUMNS counts only when LINES is set too', () => {
  assert.equal(tableWidth({ COLUMNS: '70', LINES: '24' }, 90), 70)
  assert.equal(tableWidth({ COLUMNS: '70' }, 90), 90)
  assert.equal(tableWidth({ COLUMNS: '70' }, undefined), 120)
  assert.equal(tableWidth({ COLUMNS: 'wide', LINES: '1' }, undefined), 120)
})
