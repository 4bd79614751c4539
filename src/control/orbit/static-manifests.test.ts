import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { OrbitRefusal, type StaticEntry, type StaticSegmentRow } from './orbit.ts'
import {
  etagOfRows,
  lengthOfRow,
  parseManifest,
  printManifest,
  rangeOfRow,
  resolveRange,
  type SegmentLook,
  verifyEntries,
} from './static-manifests.ts'

const md5 = (text: string) => createHash('md5').update(text).digest('hex')
const A = md5('a'.repeat(10))
const look = (change: Partial<Extract<SegmentLook, { found: true }>> = {}): SegmentLook => ({
  found: true,
  size: 10,
  etag: A,
  contentType: 'text/plain',
  modifiedAt: 1_795_405_548_376_480,
  isStatic: false,
  ...change,
})
const segment = (change: Partial<Extract<StaticEntry, { kind: 'segment' }>> = {}): StaticEntry => ({
  kind: 'segment',
  path: '/s/a',
  ...change,
})
const data = (text: string): StaticEntry => ({ kind: 'data', bytes: Buffer.from(text) })
const verify = (entries: StaticEntry[], looks: Record<string, SegmentLook> = { '/s/a': look() }) =>
  verifyEntries(entries, new Map(Object.entries(looks)))
function problemsOf(...args: Parameters<typeof verify>) {
  try {
    verify(...args)
  } catch (error) {
    assert.ok(error instanceof OrbitRefusal)
    assert.equal(error.kind, 'invalid')
    return error.problems
  }
  return assert.fail('nothing was wrong with it')
}

test('static manifest: segments that are as they should be become rows', () => {
  assert.deepEqual(
    verify([segment({ path: 's/a', etag: A, size: 10 })], { 's/a': look({ isStatic: true }) }),
    [
      {
        kind: 'segment',
        name: '/s/a',
        bytes: 10,
        hash: A,
        contentType: 'text/plain',
        modifiedAt: 1_795_405_548_376_480,
        range: undefined,
        subSlo: true,
      },
    ],
  )
  assert.deepEqual(verify([]), [])
})

test('static manifest: all that is wrong with segments is told at once, in words that clients know', () => {
  const entries = [
    segment({ path: '/s/none' }),
    segment({ size: 11, etag: md5('b') }),
    segment({ path: '/s/shut' }),
    segment({ path: "/s/an odd 'ä'" }),
    segment({ range: '10-' }),
    segment({ path: '/s/empty' }),
    segment(),
  ]
  const looks = {
    '/s/a': look(),
    '/s/none': { found: false, status: '404 Not Found' } as const,
    '/s/shut': { found: false, status: '403 Forbidden' } as const,
    '/s/empty': look({ size: 0 }),
  }
  assert.deepEqual(problemsOf(entries, looks), [
    ['/s/none', '404 Not Found'],
    ['/s/a', 'Size Mismatch'],
    ['/s/a', 'Etag Mismatch'],
    ['/s/shut', '403 Forbidden'],
    ['/s/an%20odd%20%27%C3%A4%27', '404 Not Found'],
    ['/s/a', 'Unsatisfiable Range'],
    ['/s/empty', 'Too small; each segment must be at least 1 byte.'],
  ])
})

test('static manifest: only the last segment may be empty', () => {
  const looks = { '/s/a': look(), '/s/empty': look({ size: 0 }) }
  const empty = segment({ path: '/s/empty' })
  assert.equal(verify([segment(), empty], looks).length, 2)
  assert.equal(problemsOf([empty, segment()], looks).length, 1)
  assert.equal(problemsOf([empty, data('x')], looks).length, 1)
})

test('static manifest: a path that is no text at all is a segment that is missing', () => {
  assert.deepEqual(problemsOf([segment({ path: '/s/\ud800' })]), [['/s/%EF%BF%BD', '404 Not Found']])
})

test('static manifest: ranges are stored as first and last byte, and not where they are all of it', () => {
  const ranges = (range: string) =>
    verify([segment({ range })]).map((row) => row.kind === 'segment' && row.range)
  assert.deepEqual(ranges('0-3'), ['0-3'])
  assert.deepEqual(ranges('4-'), ['4-9'])
  assert.deepEqual(ranges('-3'), ['7-9'])
  assert.deepEqual(ranges('8-1000'), ['8-9'])
  assert.deepEqual(ranges('0-9'), [undefined])
  assert.deepEqual(ranges('0-'), [undefined])
  assert.deepEqual(ranges('-99'), [undefined])
})

test('static manifest: a range without any byte of the segment is none', () => {
  for (const range of ['10-', '10-20', '-0', '5-4']) assert.equal(resolveRange(range, 10), undefined, range)
  assert.deepEqual(resolveRange('-5', 0), { offset: 0, length: 0 })
  assert.equal(resolveRange('0-', 0), undefined)
})

test('static manifest: the ETag names the bytes of each row', () => {
  assert.equal(etagOfRows(verify([segment(), segment()])), md5(A + A))
  assert.equal(etagOfRows(verify([segment({ range: '0-3' }), segment()])), md5(`${A}:0-3;${A}`))
  assert.equal(etagOfRows(verify([segment(), data('tail')])), md5(A + md5('tail')))
  assert.equal(etagOfRows([]), 'd41d8cd98f00b204e9800998ecf8427e')
})

test('static manifest: lengths follow ranges and data', () => {
  const rows = verify([segment({ range: '-3' }), data('four'), segment()])
  assert.deepEqual(rows.map(lengthOfRow), [3, 4, 10])
})

test('static manifest: it is shown as clients know it', () => {
  const rows = verify([segment({ range: '0-3' }), data('tail')], { '/s/a': look({ isStatic: true }) })
  assert.deepEqual(JSON.parse(printManifest(rows)), [
    {
      name: '/s/a',
      bytes: 10,
      hash: A,
      content_type: 'text/plain',
      last_modified: '2026-11-23T03:45:48.376480',
      range: '0-3',
      sub_slo: true,
    },
    { data: 'dGFpbA==' },
  ])
})

test('static manifest: what is printed is read as it was', () => {
  const row: fc.Arbitrary<StaticSegmentRow> = fc.oneof(
    fc.record(
      {
        kind: fc.constant('segment' as const),
        name: fc.string({ unit: 'grapheme' }),
        bytes: fc.nat(),
        hash: fc.constant(A),
        contentType: fc.string(),
        modifiedAt: fc.integer({ min: 1_000_000_000, max: 253_402_300_799_999 }).map((ticks) => ticks * 10),
        range: fc.option(fc.constant('0-0'), { nil: undefined }),
        subSlo: fc.boolean(),
      },
      { noNullPrototype: true },
    ),
    fc.uint8Array().map((bytes) => ({ kind: 'data' as const, bytes: Buffer.from(bytes) })),
  )
  fc.assert(
    fc.property(fc.array(row, { maxLength: 5 }), (rows) => {
      assert.deepEqual(parseManifest(printManifest(rows)), rows)
    }),
  )
})

test('static manifest: any range and size give bytes that lie in the segment, or none', () => {
  const number = fc.option(fc.nat({ max: 30 }), { nil: undefined })
  fc.assert(
    fc.property(number, number, fc.nat({ max: 20 }), (first, last, size) => {
      const range = resolveRange(`${first ?? ''}-${last ?? ''}`, size)
      if (range) assert.ok(range.offset >= 0 && range.length >= 0 && range.offset + range.length <= size)
    }),
  )
})

test('static manifest: a stored range that lies nowhere is a bug, and no bytes', () => {
  const [row] = verify([segment({ range: '0-3' })])
  assert.ok(row?.kind === 'segment')
  assert.throws(() => rangeOfRow({ ...row, bytes: 0 }), /internal error/)
})
