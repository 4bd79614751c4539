/** What strangers write in words: the starts of files, headers of requests, lists of segments. */
import assert from 'node:assert/strict'
import { LibraryError } from '#base/errors.ts'
import { isInRange, parseExpires, parseSignature, parseTempUrl } from '#control/orbit/temp-url-signature.ts'
import { HEAD_SIZE, recogniseContainer, refuseNested, TAIL_SIZE } from '#data/format/probe.ts'
import { recogniseCompression, refuseSecondCompression } from '#data/format/probe-compression.ts'
import { noise, texty } from '#data/format/qcow2/qcow2.fixtures.ts'
import { parseSourceUrl, redactUrl } from '#data/source/source-url.ts'
import { parseContentRange as parseAnsweredRange, parseRetryAfter } from '#data/source/validators.ts'
import { parseContentRange, parseRanges } from '#edge/http/ranges.ts'
import { parsePath, parseQuery } from '#edge/swift/path.ts'
import { readRanges } from '#edge/swift/ranges.ts'
import { SwiftProblem } from '#edge/swift/reply.ts'
import { parseEntries } from '#edge/swift/static-entries.ts'
import { skippable } from '../support/compressed-streams.ts'
import type { Target } from './target.ts'

const at = (offset: number, text: string, length = 70_000) => {
  const bytes = Buffer.alloc(length)
  bytes.write(text, offset, 'latin1')
  return bytes
}

export const probeTarget: Target = {
  name: 'probe',
  seeds: () => [
    at(0, 'QFI\xfb\0\0\0\x03'),
    at(0x40, '\x7f\x10\xda\xbe'),
    at(0, '# Disk DescriptorFile\nversion=1'),
    at(0, '\n# by hand\n\n# disk descriptorfile', 600),
    at(69_488, 'conectix'),
    at(257, 'ustar'),
    at(510, '\x55\xaaEFI PART'),
    at(0x8001, 'CD001'),
    at(0, '\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff'),
    Buffer.from('\ufeff \n<!DOCTYPE html><title>Not found</title>'),
    Buffer.from('{"error": "no such bucket"}'.padEnd(600)),
    Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]),
    Buffer.concat([
      skippable(noise(20, 1), 3),
      skippable(noise(700, 1)),
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0]),
    ]),
    Buffer.from(texty(512, 1)),
  ],
  async read(input) {
    let head = input.subarray(0, HEAD_SIZE)
    for (let times = 0; ; times++) {
      assert.ok(times < 40, 'it asks for more again and again')
      const found = recogniseCompression(head, head.length === input.length)
      if (found.kind !== 'more') {
        if (found.kind !== 'none') return Buffer.from(found.kind)
        break
      }
      assert.ok(found.bytes > head.length, 'it asks for more than it has')
      head = input.subarray(0, found.bytes)
    }
    const start = input.subarray(0, HEAD_SIZE)
    const early = input.length > HEAD_SIZE ? recogniseContainer(start) : undefined
    const found = recogniseContainer(start, input.subarray(Math.max(0, input.length - TAIL_SIZE)))
    if (early) assert.deepEqual(found, early, 'the end of a file only refuses')
    if (found.format === 'raw') {
      refuseSecondCompression(start)
      refuseNested(start)
    }
    return Buffer.from(JSON.stringify(found))
  },
}

const OWN = '/container/object'
const NOW = Date.UTC(2026, 0, 1)
const SIZE = 10_000

/** A problem that Orbit answers with is a refusal like others. */
function refusing<T>(parse: () => T): T | string {
  try {
    return parse()
  } catch (error) {
    if (error instanceof SwiftProblem) return String(error.status)
    if (error instanceof LibraryError) return error.message
    throw error
  }
}

function checkRanges(ranges: ReturnType<typeof parseRanges>): void {
  if (typeof ranges === 'string') return
  for (const { offset, length } of ranges) {
    assert.ok(offset >= 0 && length > 0 && offset + length <= SIZE, `${offset}+${length} lies in it`)
  }
}

function readTempUrl(text: string): unknown {
  const [method = '', path = '', signature = '', expires = '', ip = ''] = text.split(' ')
  isInRange('127.0.0.1', ip)
  parseSignature(signature)
  parseExpires(expires)
  const request = { method, path, signature, expires, ipRange: ip || undefined, prefix: undefined }
  return parseTempUrl({ ...request, clientIp: '127.0.0.1' }, NOW)
}

export const wordsTarget: Target = {
  name: 'words',
  seeds: () =>
    [
      'bytes=0-499,-500,9500-',
      'bytes=0-0,1-1,2-',
      'bytes 0-499/1234',
      'bytes */1234',
      'Wed, 21 Oct 2026 07:28:00 GMT',
      '120',
      `GET /v1/acc-12345/images/a%20b ${'a'.repeat(64)} 2026-02-03T04:05:06Z 127.0.0.0/8`,
      `PUT /v1/acc-12345/images/a sha512:${'A'.repeat(86)}== 1893456000 ::1/128`,
      '/v1/acc-12345/container/an/object?format=json&limit=3&prefix=%C3%A9&temp_url_sig=0',
      'https://user:secret@images.example:8443/a/../b.qcow2?token=x#part',
      'http://[::ffff:7f00:1]/a',
      '[{"path":"/c/a","etag":"0","size_bytes":3,"range":"0-1"},{"data":"YWJj"}]',
    ].map((line) => Buffer.from(line)),
  async read(input) {
    const text = Buffer.from(input).toString('latin1').slice(0, 16_384)
    checkRanges(parseRanges(text, SIZE))
    checkRanges(readRanges(text, SIZE))
    const found = [
      parseContentRange(text),
      parseAnsweredRange(text),
      parseRetryAfter(text, NOW),
      readTempUrl(text),
      refusing(() => parsePath(text)),
      [...parseQuery(text)],
      refusing(() => redactUrl(parseSourceUrl(text))),
      refusing(() => parseEntries(Buffer.from(input), OWN)),
    ]
    return Buffer.from(JSON.stringify(found))
  },
}
