import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createProgressLine } from './progress-line.ts'

function draw(stream: { isTTY: boolean; columns: number }, shown: readonly (readonly [number, string])[]) {
  const written: string[] = []
  let time = 0
  {
    using line = createProgressLine({ ...stream, write: (text) => written.push(text) }, () => time)
    for (const [at, text] of shown) {
      time = at
      line.show(text)
    }
  }
  return written
}

test('progress line: writes over itself at most ten times a second, and is wiped at the end', () => {
  const written = draw({ isTTY: true, columns: 80 }, [
    [0, 'one'],
    [99, 'two'],
    [100, 'three'],
  ])
  assert.deepEqual(written, ['\rone\u001b[K', '\rthree\u001b[K', '\r\u001b[K'])
})

test('progress line: never wraps, also where the width is not known', () => {
  assert.equal(draw({ isTTY: true, columns: 4 }, [[0, 'abcdef']])[0], '\rabc\u001b[K')
  assert.equal(draw({ isTTY: true, columns: 0 }, [[0, 'x'.repeat(99)]])[0], `\r${'x'.repeat(79)}\u001b[K`)
})

test('progress line: nothing is written where there is no terminal, or nothing to show', () => {
  assert.deepEqual(draw({ isTTY: false, columns: 80 }, [[0, 'one']]), [])
  assert.deepEqual(draw({ isTTY: true, columns: 80 }, []), [])
})
