import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { needs } from './support/tools.ts'

function torture(...words: string[]) {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../tools/torture.ts'), ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stderr.on('data', (chunk) => (output += chunk))
  child.stdout.on('data', (chunk) => (output += chunk))
  return { child, output: () => output }
}

describe('torture', needs('lz4', 'qemu-img', 'xz', 'zstd'), () => {
  test('the short form of every attack finds nothing wrong, and the last line has the sums', async () => {
    const { child, output } = torture('--short')
    const [code] = await once(child, 'close')
    assert.equal(code, 0, output())
    assert.doesNotMatch(output(), /broken off/)
    const last = output().trimEnd().split('\n').at(-1) ?? ''
    assert.match(
      last,
      /^no wrong outcome: \d+ rounds in \d+ (s|min): [\d,]+ registrations, .* racing clients$/,
    )
  })

  test('whoever interrupts it gets the sums of what was done', async () => {
    const { child, output } = torture('--only', 'fuzz')
    for await (const line of createInterface(child.stdout)) if (line.startsWith('fuzz: SEED')) break
    child.kill('SIGINT')
    const [code] = await once(child, 'close')
    assert.equal(code, 0, output())
    assert.match(output(), /\nno wrong outcome: 1 rounds in \d+ s, broken off: /)
  })

  test('an attack that is none is told with those there are', async () => {
    const { child, output } = torture('--only', 'nothing')
    const [code] = await once(child, 'close')
    assert.notEqual(code, 0)
    assert.match(output(), /--only is one of "/)
  })
})
