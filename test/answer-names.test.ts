import assert from 'node:assert/strict'
import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ANSWER_NAMES, ANSWERS, answerNameOf } from '#base/answer-names.ts'
import { LibraryError } from '#base/errors.ts'
import { ApiError } from '#cli/failure.ts'
import { isPassing } from '#cli/retry.ts'
import { problemOf } from '#edge/http/problems.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFile(join(root, path), 'utf8')

async function textOf(pattern: string, isWanted: (path: string) => boolean): Promise<string> {
  const texts: string[] = []
  for await (const path of glob(pattern, { cwd: root })) if (isWanted(path)) texts.push(await read(path))
  return texts.join('\n')
}

test('answers: the guide to status codes has the words of the table', async () => {
  const plain = (cell: string) => cell.replaceAll('`', '').trim()
  const guide = await read('docs/guides/status-codes.md')
  const rows = [...guide.matchAll(/^\| ([\d, ]+) \| `(\w+)` \|([^|]*)\|([^|]*)\|$/gm)].map(
    ([, statuses = '', name = '', when = '', next = '']) => [statuses, name, plain(when), plain(next)],
  )
  const expected = ANSWER_NAMES.map((name) => {
    const { statuses, when, next } = ANSWERS[name]
    return [statuses.join(', '), name, when, next]
  })
  assert.deepEqual(rows, expected)
})

test('answers: each name is given somewhere, and in some test', async () => {
  const isTest = (path: string) => /\.test\.ts$/.test(path)
  const sources = await textOf('src/edge/**/*.ts', (path) => !isTest(path))
  const tests = await textOf('{src,test}/**/*.test.ts', (path) => !path.endsWith('answer-names.test.ts'))
  const quoted = (text: string, name: string) => new RegExp(`['"\`]${name}['"\`]`).test(text)
  assert.deepEqual(
    ANSWER_NAMES.filter((name) => !quoted(sources, name)),
    [],
  )
  // A client that went away sees none.
  assert.deepEqual(
    ANSWER_NAMES.filter((name) => !quoted(tests, name)),
    ['client_gone'],
  )
})

test('answers: a status of the framework alone gets a name of the table', () => {
  for (let statusCode = 400; statusCode < 500; statusCode++) {
    const { status, name } = problemOf(Object.assign(new Error('no'), { statusCode }))
    assert.equal(status, statusCode)
    assert.equal(name, answerNameOf(statusCode))
    assert.ok(name in ANSWERS)
  }
  assert.equal(problemOf(new Error('a bug')).name, 'internal_error')
})

test('answers: what passes is told with a time to try again, and the command line does', () => {
  const { status, name, headers } = problemOf(new LibraryError('unavailable', 'no'))
  assert.deepEqual([status, name, 'retry-after' in headers], [503, 'unavailable', true])
  for (const each of ANSWER_NAMES) {
    for (const status of ANSWERS[each].statuses) {
      const repeated = isPassing(new ApiError('try', { status, reason: 'no' }))
      assert.equal(repeated, ANSWERS[answerNameOf(status)].passes, each)
    }
  }
})

test('answers: every one stands in the document of the API', async () => {
  const document = JSON.parse(await read('docs/api/openapi.json'))
  assert.deepEqual(document.components.schemas.Problem.properties.error_name.enum, ANSWER_NAMES)
})

test('answers: the guide has every word of the token endpoint', async () => {
  const [, union = ''] = /type AuthError =([^}]*?)\n\n/.exec(await read('src/control/auth/auth.ts')) ?? []
  const words = [...union.matchAll(/'(\w+)'/g)].map(([, word = '']) => word)
  assert.ok(words.length > 6)
  const [, guide = ''] = (await read('docs/guides/status-codes.md')).split('| Status | `error` | When |')
  assert.deepEqual([...new Set(guide.match(/(?<=`)\w+_\w+(?=`)/g))].sort(), words.sort())
})
