import assert from 'node:assert/strict'
import { access, glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { FAILURE_CODES, FAILURES, type FailureCode } from '#base/failure-codes.ts'
import { MachineFault } from '#base/machine-fault.ts'
import { Refusal, type RefusalCategory, SourceFailure } from '#base/refusal.ts'
import { isRetryable } from '#control/jobs/retry.ts'
import { QuotaExceeded, toFailure } from '#control/library/failure.ts'
import { HOSTILE } from './support/hostile-images.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFile(join(root, path), 'utf8')

/** What no bytes can earn, with how it comes about; the tests beside these sources bring each about for true. */
const OTHERS: Readonly<Record<string, readonly [code: FailureCode, error: unknown]>> = {
  'a server that may be well later': ['source', new SourceFailure('It fell silent.', { retryable: true })],
  'a server that says no': ['source', new SourceFailure('It said no.', { retryable: false })],
  'a quota': ['quota', new QuotaExceeded(1)],
  'a machine without memory': ['machine', new MachineFault('start a thread: secret')],
  'a full disk': ['storage', new LibraryError('unavailable', 'the disk is full')],
  'damaged blocks': ['storage', new LibraryError('corrupt', 'a block is damaged')],
  'another error': ['internal', new LibraryError('conflict', 'this should not reach anybody')],
  'a bug': ['internal', new TypeError('secret is undefined')],
}

test('failure codes: each is earned by an image that is registered in a test, or made by a fault', () => {
  const made = [...HOSTILE.map(([, code]) => code), ...Object.values(OTHERS).map(([code]) => code)]
  assert.deepEqual([...new Set<string>(made)].sort(), [...FAILURE_CODES].sort())
})

test('failure codes: an image keeps the code of its row, and a next step', () => {
  for (const [, code] of HOSTILE) {
    const failure = toFailure(new Refusal(code, 'It is so.'))
    assert.deepEqual(failure, { code, message: 'It is so.', hint: FAILURES[code].next })
    const better = toFailure(new Refusal(code, 'It is so.', { hint: 'Do that.' }))
    assert.equal(better.hint, 'Do that.')
  }
  for (const [name, [code, error]] of Object.entries(OTHERS)) {
    const { code: kept, message, hint } = toFailure(error)
    assert.deepEqual([kept, hint], [code, FAILURES[code].next], name)
    assert.doesNotMatch(message, /secret/)
  }
})

test('failure codes: only what the table says is tried again', () => {
  const errors = HOSTILE.map(([, code]): readonly [FailureCode, unknown] => [code, new Refusal(code, 'No.')])
  const tried = [...errors, ...Object.values(OTHERS)].filter(([, error]) => isRetryable(error))
  const may = FAILURE_CODES.filter((code) => FAILURES[code].retried === 'may')
  assert.deepEqual([...new Set(tried.map(([code]) => code))].sort(), [...may].sort())
})

test('failure codes: a next step is one sentence on one line, a meaning none', () => {
  for (const code of FAILURE_CODES) {
    const { means, next } = FAILURES[code]
    assert.match(code, /^[a-z]+(-[a-z]+)*$/)
    assert.match(next, /^[A-Z][^\n]*\.$/, code)
    assert.match(means, /^[^\n]*[^.\n]$/, code)
  }
})

test('failure codes: the guide to refusals has the words of the table', async () => {
  const plain = (cell: string) => cell.replaceAll('`', '').trim()
  const guide = await read('docs/guides/refusals.md')
  const rows = [...guide.matchAll(/^\| `([\w-]+)` \|([^|]*)\|([^|]*)\|$/gm)].map(
    ([, code = '', means = '', next = '']) => [code, plain(means), plain(next)],
  )
  const expected = FAILURE_CODES.map((code) => [code, FAILURES[code].means, FAILURES[code].next])
  assert.deepEqual(rows, expected)
  const [, retried = ''] = /Tried again by themselves[^:]*: ([^.]*)\./.exec(guide) ?? []
  const may = FAILURE_CODES.filter((code) => FAILURES[code].retried === 'may')
  assert.deepEqual(
    retried.match(/[\w-]+/g),
    may.map((code) => code),
  )
})

test('failure codes: every one stands in the document of the API', async () => {
  const document = JSON.parse(await read('docs/api/openapi.json'))
  const { properties } = document.components.schemas.Image.properties.failure
  assert.deepEqual(properties.code.enum, FAILURE_CODES)
})

test('failure codes: every refusal has a source of its own', async () => {
  const sources: string[] = []
  for await (const path of glob('src/{data,control}/**/*.ts', { cwd: root })) {
    if (!/\.(test|fixtures)\.ts$/.test(path)) sources.push(await read(path))
  }
  const all = sources.join('\n')
  const made = (code: RefusalCategory) => new RegExp(`(Refusal|refuse|code:)[^;]{0,40}'${code}'`).test(all)
  const missing = HOSTILE.map(([, code]) => code).filter((code) => !made(code))
  assert.deepEqual(missing, [])
})

test('failure modes: every sentence is one of the program, every test is there', async () => {
  const page = await read('docs/failure-modes.md')
  const sources: string[] = []
  for await (const path of glob('src/**/*.ts', { cwd: root })) sources.push(await read(path))
  const all = sources.join('\n').replaceAll("\\'", "'")
  const rows = page.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| what fails'))
  assert.ok(rows.length > 40)
  for (const row of rows) {
    for (const [, sentence = ''] of row.matchAll(/"([^"]+)"/g)) assert.ok(all.includes(sentence), sentence)
    const [, file = ''] = /`((?:src|test)\/[^`]*\.test\.ts)` \|$/.exec(row) ?? []
    await assert.doesNotReject(access(join(root, file)), `${row}: ${file}`)
  }
  for (const [code] of page.matchAll(/(?<=^\|[^|]*\| `)[a-z-]+(?=`[^|]*\|)/gm))
    assert.ok(code in FAILURES || ['failed', 'creating', 'inactive'].includes(code), code)
})
