import assert from 'node:assert/strict'
import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFile(join(root, path), 'utf8')

/** The words of a union of literals, from the source: types are gone when a program runs. */
const wordsOf = (source: string, name: RegExp): string[] => {
  const [, union = ''] = name.exec(source) ?? []
  return [...union.matchAll(/'([\w-]+)'/g)].map(([, word = '']) => word)
}

test('guides: the page of errors has every code of LibraryError', async () => {
  const codes = wordsOf(await read('src/base/errors.ts'), /type ErrorCode =([^}]*?)\n\n/)
  const guide = await read('docs/guides/errors.md')
  for (const code of codes) assert.match(guide, new RegExp(`^\\| \`${code}\` \\|`, 'm'))
})

test('guides: every event action is on the tour of the API', async () => {
  const actions = [...(await read('src/model/event.ts')).matchAll(/'((?:image|server)\.\w+)'/g)]
  const guide = await read('docs/guides/api-tour.md')
  for (const [, action = ''] of actions) assert.ok(guide.includes(`\`${action}\``), action)
})

test('design: refused ports and limits of requests are those of the code', async () => {
  const design = await read('docs/design.md')
  const [, ports = ''] =
    /REFUSED_PORTS[^[]*\[([^\]]*)\]/.exec(await read('src/data/source/source-url.ts')) ?? []
  const [, listed = ''] = /not one of these: ([\d\s]+)\./.exec(design) ?? []
  assert.deepEqual(listed.match(/\d+/g), ports.match(/\d+/g))
  for (const [file, name, value] of [
    ['src/data/source/source-url.ts', 'MAX_URL_LENGTH = 2048', '2,048 characters'],
    ['src/edge/http/ranges.ts', 'MAX_RANGES = 32', '| ranges in one request | 32 |'],
    ['src/control/library/reading.ts', 'LIMIT_MAX = 1000', 'in one page | 1,000 |'],
    ['src/control/library/upload-payload.ts', 'UPLOAD_HOURS = 24', 'an upload without news | 24 h'],
    ['src/control/jobs/queue.ts', 'attemptsMax = 5', '5 failures, 100 killed'],
    ['src/edge/http/app.ts', 'DEFAULT_BODY_LIMIT = 256 * 1024', '256 KiB; 64 KiB'],
  ] as const) {
    assert.ok((await read(file)).includes(name), `${file}: ${name}`)
    assert.ok(design.includes(value), value)
  }
})

test('decisions: each has a number of its own, a status, context, decision and consequences', async () => {
  const numbers = new Set<string>()
  for await (const path of glob('docs/decisions/*.md', { cwd: root })) {
    const number = /(\d{4})-[a-z0-9-]+\.md$/.exec(path)?.[1] ?? ''
    assert.ok(number && !numbers.has(number), path)
    numbers.add(number)
    const page = await read(path)
    assert.match(page, new RegExp(`^# ${Number(number)}\\. `), path)
    for (const part of ['\nStatus: ', '\n## Context\n', '\n## Decision\n', '\n## Consequences\n'])
      assert.ok(page.includes(part), `${path}: ${part}`)
  }
})
