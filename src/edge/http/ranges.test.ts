import assert from 'node:assert/strict'
import { test } from 'node:test'
import { contentRange, parseContentRange, parseRanges } from './ranges.ts'

const ranges = (header: string | undefined, size = 100) => {
  const result = parseRanges(header, size)
  return typeof result === 'string'
    ? result
    : result.map(({ offset, length }) => `${offset}+${length}`).join(' ')
}

test('ranges: every form of RFC 9110 is read', () => {
  assert.equal(ranges('bytes=0-0'), '0+1')
  assert.equal(ranges('bytes=10-19'), '10+10')
  assert.equal(ranges('bytes=90-'), '90+10')
  assert.equal(ranges('bytes=-1'), '99+1')
  assert.equal(ranges('bytes=-1000'), '0+100')
  assert.equal(ranges('bytes=95-1000'), '95+5')
  assert.equal(ranges('Bytes=0-1, 5-6 ,-2'), '0+2 5+2 98+2')
})

test('ranges: what is malformed or of another unit is ignored', () => {
  for (const header of [
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=5-4',
    'items=0-1',
    'bytes=1-2,x',
  ])
    assert.equal(ranges(header), 'all', String(header))
  assert.equal(ranges('bytes=99999999999999999999-'), 'all')
})

test('ranges: those past the end are left out, and all of them past it cannot be satisfied', () => {
  assert.equal(ranges('bytes=100-'), 'unsatisfiable')
  assert.equal(ranges('bytes=-0'), 'unsatisfiable')
  assert.equal(ranges('bytes=0-', 0), 'unsatisfiable')
  assert.equal(ranges('bytes=200-300,0-1'), '0+2')
})

test('ranges: nobody gets more bytes than there are by asking for them many times', () => {
  assert.equal(ranges('bytes=0-,0-,0-'), 'all')
  assert.equal(ranges(`bytes=${Array.from({ length: 33 }, (_, i) => `${i}-${i}`).join()}`), 'all')
  assert.equal(ranges('bytes=0-49,50-99'), '0+50 50+50')
})

test('Content-Range: what was written is read back, and contradictions are not', () => {
  assert.deepEqual(parseContentRange(contentRange({ offset: 5, length: 10 }, 20)), {
    offset: 5,
    length: 10,
    total: 20,
  })
  assert.deepEqual(parseContentRange('bytes 0-0/*'), { offset: 0, length: 1, total: undefined })
  for (const header of ['', 'bytes 5-4/10', 'bytes 0-10/10', 'bytes */10', 'bytes 0-/10', 'items 0-1/2'])
    assert.equal(parseContentRange(header), undefined, header)
})
