import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KiB, MiB } from '#base/bytes.ts'
import type { RefusalCategory } from '#base/refusal.ts'
import { diskBytes, le32, skippable } from '../../../test/support/compressed-streams.ts'
import { HEAD_SIZE, recogniseContainer, refuseNested, TAIL_SIZE } from './probe.ts'
import { recogniseCompression, refuseSecondCompression } from './probe-compression.ts'

/** A head of noise with these bytes at these places. */
function headWith(...parts: readonly (readonly [offset: number, bytes: string])[]): Buffer {
  const head = diskBytes(HEAD_SIZE, 4).fill(0x11, 0, 1024)
  for (const [offset, bytes] of parts) head.write(bytes, offset, 'latin1')
  return head
}

const tailWith = (bytes: string) =>
  Buffer.concat([Buffer.from(bytes, 'latin1'), Buffer.alloc(TAIL_SIZE)]).subarray(0, TAIL_SIZE)
const refused = (category: RefusalCategory) => ({ category })

const CONTAINERS: readonly (readonly [string, number, string])[] = [
  ['VMDK', 0, 'KDMV'],
  ['VMDK', 0, 'COWD'],
  ['VMDK', 0, '# Disk DescriptorFile\nversion=1\n'],
  ['VMDK', 0, '\r\n\n# made by somebody\n  # disk descriptorfile\r\n'],
  ['VDI', 0x40, '\x7f\x10\xda\xbe'],
  ['VHD', 0, 'conectix'],
  ['VHDX', 0, 'vhdxfile'],
  ['QED', 0, 'QED\0'],
  ['LUKS', 0, 'LUKS\xba\xbe\0\x01'],
  ['LUKS', 0, 'LUKS\xba\xbe\0\x02'],
  ['Parallels', 0, 'WithoutFreeSpace'],
  ['Parallels', 0, 'WithouFreSpacExt'],
  ['Bochs', 0, 'Bochs Virtual HD Image'],
  ['Apple', 0, 'shdw'],
  ['WIM', 0, 'MSWIM\0\0\0'],
  ['Android', 0, '\x3a\xff\x26\xed'],
  ['tar', 257, 'ustar'],
  ['zip', 0, 'PK\x03\x04'],
  ['7z', 0, '7z\xbc\xaf\x27\x1c'],
  ['bzip2', 0, 'BZh1'],
  ['bzip2', 0, 'BZh9'],
  ['lzip', 0, 'LZIP'],
  ['lzma', 0, '\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff'],
  ['lzma', 0, '\x5d\0\0\0\x04\0\0\x10\0\0\0\0\0'],
]

test('probe: names every format that is not read, and refuses it inside a virtual disk', () => {
  for (const [name, offset, bytes] of CONTAINERS) {
    const head = headWith([offset, bytes])
    assert.throws(
      () => recogniseContainer(head),
      (error: Error) => {
        assert.equal((error as { category?: string }).category, 'unsupported-format', `${name}: ${error}`)
        assert.match(error.message, new RegExp(`^${name}`))
        return true
      },
    )
    assert.throws(() => refuseNested(head), refused('nested'))
  }
})

test('probe: formats that are recognised by their end are refused when it is known', () => {
  const head = headWith()
  assert.equal(recogniseContainer(head).format, 'raw')
  for (const name of ['conectix', 'koly']) {
    assert.throws(() => recogniseContainer(head, tailWith(name)), refused('unsupported-format'))
  }
  assert.equal(recogniseContainer(head, tailWith('xconectix')).format, 'raw')
})

test('probe: two formats at once are refused, the same one twice is not a second', () => {
  const qcow2 = 'QFI\xfb\0\0\0\x03'
  assert.throws(
    () => recogniseContainer(headWith([0, qcow2], [0x40, '\x7f\x10\xda\xbe'])),
    refused('polyglot'),
  )
  assert.throws(() => recogniseContainer(headWith([0, 'KDMV'], [257, 'ustar'])), refused('polyglot'))
  assert.throws(() => recogniseContainer(headWith([0, qcow2]), tailWith('koly')), refused('polyglot'))
  const dynamic = headWith([0, 'conectix'])
  assert.throws(() => recogniseContainer(dynamic, tailWith('conectix')), refused('unsupported-format'))
})

test('probe: qcow2 of versions 2 and 3 is read, others are refused by number', () => {
  for (const version of [2, 3]) {
    assert.deepEqual(recogniseContainer(headWith([0, `QFI\xfb\0\0\0${String.fromCharCode(version)}`])), {
      format: 'qcow2',
    })
  }
  for (const version of [0, 1, 4]) {
    const head = headWith([0, `QFI\xfb\0\0\0${String.fromCharCode(version)}`])
    assert.throws(() => recogniseContainer(head), refused('unsupported-version'))
  }
  assert.throws(() => recogniseContainer(Buffer.from('QFI\xfb\0', 'latin1')), refused('truncated'))
  assert.throws(() => refuseNested(headWith([0, 'QFI\xfb\0\0\0\x01'])), refused('nested'))
})

test('probe: error pages and short files are no images', () => {
  const pages = [
    '<!DOCTYPE html>\n<html>',
    '\r\n  <HTML>',
    '\xef\xbb\xbf\r\n  <html>',
    '\xff\xfe<\0h\0t\0m\0l\0>\0',
    '<?xml version="1.0"?><Error/>',
  ]
  for (const page of pages)
    assert.throws(() => recogniseContainer(headWith([0, page])), refused('not-an-image'))
  const json = Buffer.from('{"error":{"code":403}}'.padEnd(700))
  assert.throws(() => recogniseContainer(json), refused('not-an-image'))
  const texts = {
    '<HEAD><TITLE>404 Not Found</TITLE></HEAD>': /a web page/,
    '<!-- build 7 -->\n<body>Sign in</body>': /a web page/,
    '<br />\n<b>Warning</b>: fopen(): failed': /a web page/,
    '<Error><Code>NoSuchKey</Code></Error>': /a web page/,
    ' [{"error": "not found"}]': /JSON/,
  }
  for (const [text, message] of Object.entries(texts))
    assert.throws(() => recogniseContainer(Buffer.from(text.padEnd(5000, '. '))), message, text)
  assert.throws(() => recogniseContainer(Buffer.from('404 page not found\n')), /short text/)
  assert.throws(() => recogniseContainer(diskBytes(511)), refused('not-an-image'))
  assert.throws(() => recogniseContainer(Buffer.alloc(0)), refused('empty'))
})

test('probe: what only resembles a page or a format is raw', () => {
  for (const bytes of [
    '{\x01\x02',
    '<h1>',
    '<<< ',
    'BZh0',
    '\x5d\0\0\0\0\0\0\0\0\0\0\0\0',
    'QFI',
    '# a comment\nnot that',
  ]) {
    assert.equal(recogniseContainer(headWith([0, bytes])).format, 'raw', JSON.stringify(bytes))
  }
  const inside = headWith([512, 'QFI\xfb'], [4096, 'KDMV'], [8192, 'conectix'], [12_288, '\xfd7zXZ\0'])
  assert.equal(recogniseContainer(inside, tailWith('')).format, 'raw')
  assert.doesNotThrow(() => refuseNested(inside))
  assert.equal(recogniseContainer(diskBytes(512)).format, 'raw')
})

test('probe: notes what a raw disk looks like', () => {
  const notes = (...parts: (readonly [number, string])[]) => {
    const found = recogniseContainer(headWith(...parts))
    return found.format === 'raw' ? found.notes.join(' ') : ''
  }
  assert.equal(notes(), '')
  assert.match(notes([510, '\x55\xaa']), /MBR/)
  assert.match(notes([510, '\x55\xaa'], [512, 'EFI PART']), /GPT/)
  assert.match(notes([510, '\x55\xaa'], [4096, 'EFI PART']), /GPT/)
  assert.match(notes([0x8001, 'CD001']), /ISO 9660/)
  assert.match(notes([0x8001, 'CD001'], [510, '\x55\xaa']), /ISO 9660.*MBR/)
  assert.match(notes([0x8801, 'NSR02']), /UDF/)
})

const MAGICS = [
  ['xz', 'fd377a585a00'],
  ['gzip', '1f8b'],
  ['zstd', '28b52ffd'],
  ['lz4', '04224d18'],
  ['lz4', '02214c18'],
] as const

test('probe: recognises compressions, and refuses a second one', () => {
  for (const [kind, magic] of MAGICS) {
    const head = Buffer.concat([Buffer.from(magic, 'hex'), Buffer.alloc(100)])
    assert.deepEqual(recogniseCompression(head, false), { kind })
    assert.throws(() => refuseSecondCompression(head), refused('nested'))
  }
  assert.deepEqual(recogniseCompression(headWith(), false), { kind: 'none' })
  assert.doesNotThrow(() => refuseSecondCompression(headWith()))
  assert.throws(() => refuseSecondCompression(skippable(Buffer.alloc(9))), refused('nested'))
  assert.throws(() => recogniseCompression(Buffer.alloc(0), true), refused('empty'))
  assert.deepEqual(recogniseCompression(Buffer.from('fd37', 'hex'), true), { kind: 'none' })
})

/** Asks as a reader does, giving as much as is asked for. */
function recogniseFile(file: Uint8Array) {
  let length = Math.min(file.length, HEAD_SIZE)
  for (;;) {
    const found = recogniseCompression(file.subarray(0, length), length === file.length)
    if (found.kind !== 'more') return found
    assert.ok(found.bytes > length && found.bytes <= MiB + KiB, 'asks for more, within bounds')
    length = Math.min(file.length, found.bytes)
  }
}

test('probe: looks behind frames to skip, also those longer than the head', () => {
  for (const [kind, magic] of [MAGICS[2], MAGICS[3]] as const) {
    for (const size of [0, 4, HEAD_SIZE - 8, HEAD_SIZE, 500 * KiB, 1 * MiB - 8]) {
      const file = Buffer.concat([
        skippable(Buffer.alloc(size), 7),
        Buffer.from(magic, 'hex'),
        Buffer.alloc(9),
      ])
      assert.deepEqual(recogniseFile(file), { kind })
    }
    const sixteen = Array.from({ length: 16 }, (_, nibble) => skippable(Buffer.from('x'), nibble))
    assert.deepEqual(recogniseFile(Buffer.concat([...sixteen, Buffer.from(magic, 'hex')])), { kind })
  }
})

test('probe: refuses frames to skip that are too many, too long, cut, or all there is', () => {
  const magic = Buffer.from('04224d18', 'hex')
  const skips = (count: number) => Array.from({ length: count }, () => skippable(Buffer.from('x')))
  assert.throws(() => recogniseFile(Buffer.concat([...skips(17), magic])), refused('bad-stream'))
  assert.throws(
    () => recogniseFile(Buffer.concat([skippable(Buffer.alloc(MiB)), magic])),
    refused('bad-stream'),
  )
  assert.throws(() => recogniseFile(skippable(Buffer.alloc(9), 0, 0xffffffff)), refused('bad-stream'))
  assert.throws(() => recogniseFile(skippable(Buffer.alloc(9), 0, 100_000)), refused('truncated'))
  assert.throws(() => recogniseFile(le32(0x184d2a50)), refused('truncated'))
  assert.throws(() => recogniseFile(Buffer.concat(skips(3))), refused('empty'))
  const garbage = Buffer.concat([...skips(1), Buffer.from('fd377a585a00', 'hex'), Buffer.alloc(99)])
  assert.throws(() => recogniseFile(garbage), refused('trailing-garbage'))
})
