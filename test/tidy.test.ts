import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { glob } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const files = async (...patterns: string[]) =>
  (await Array.fromAsync(glob(patterns, { cwd: root, exclude: (name) => name === 'node_modules' }))).sort()

/** The folder of layers.txt that a source file belongs to. */
const folderOf = (path: string, folders: Iterable<string>) =>
  [...folders].find((folder) => path.startsWith(`src/${folder}/`))

test('layers: layers.txt allows every import and nothing more', async () => {
  const allowed = new Map<string, Set<string>>()
  for (const line of read('layers.txt').split('\n')) {
    const [folder, targets] = line.replace(/#.*/, '').split('<-')
    if (!folder?.trim()) continue
    const names = (targets ?? '').split(/\s+/).filter(Boolean)
    for (const name of names)
      assert.ok(allowed.has(name), `layers.txt: ${folder.trim()} names ${name}, which is not above it`)
    allowed.set(folder.trim(), new Set(names))
  }
  const wrong: string[] = []
  const used = new Set<string>()
  for (const file of await files('src/**/*.ts')) {
    if (file.includes('/assembly/')) continue
    const folder = folderOf(file, allowed.keys())
    if (!folder) {
      wrong.push(`${file}: its folder is not in layers.txt`)
      continue
    }
    for (const [, name] of read(file).matchAll(/(?<![.\w])(?:from|import)\s*\(?\s*'([^']+)'/g)) {
      if (name?.startsWith('#')) {
        const target = folderOf(`src/${name.slice(1)}`, allowed.keys())
        if (target === folder) wrong.push(`${file}: reaches its own folder by ${name}, use ./`)
        const test = file.endsWith('.test.ts') || file.endsWith('contract.ts')
        if (!test && (!target || !allowed.get(folder)?.has(target)))
          wrong.push(`${file}: may not import ${name}`)
        if (!test) used.add(`${folder} <- ${target}`)
      } else if (name?.startsWith('..') && folderOf(join(file, '..', name), allowed.keys()) !== folder) {
        if (!/\.(test|fixtures)\.ts$/.test(file)) wrong.push(`${file}: crosses a folder by ${name}, use #`)
      }
    }
  }
  for (const [folder, names] of allowed) {
    for (const name of names)
      if (!used.has(`${folder} <- ${name}`)) wrong.push(`layers.txt: ${folder} does not import ${name}`)
  }
  assert.deepEqual(wrong, [])
})

test('style: files and lines stay short', async () => {
  const wrong: string[] = []
  for (const file of await files('src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'tools/**/*.ts')) {
    if (file.includes('/assembly/')) continue
    const lines = read(file).split('\n')
    const limit = file.endsWith('.test.ts') || file.startsWith('test/') ? 600 : 400
    if (lines.length > limit) wrong.push(`${file}: ${lines.length} lines, at most ${limit}`)
    lines.forEach((line, index) => {
      if (line.length > 120) wrong.push(`${file}:${index + 1}: ${line.length} characters`)
    })
  }
  assert.deepEqual(wrong, [])
})

const BANNED: ReadonlyArray<readonly [RegExp, string]> = [
  [/process\.env\b/, 'read settings in daemon/config.ts or cli/ and hand them in'],
  [/\.pipe\(/, 'use pipeline or for await: pipe loses errors'],
  [/\b(TODO|FIXME|XXX|HACK)\b/, 'a deferred job is an issue'],
  [/^export default/m, 'export by name'],
]

test('style: banned calls do not appear in the sources', async () => {
  const wrong: string[] = []
  for (const file of await files('src/**/*.ts')) {
    if (file.includes('/assembly/') || file.endsWith('.test.ts')) continue
    for (const [pattern, instead] of BANNED) {
      if (pattern.source.includes('env') && /^src\/(daemon\/config|cli\/)/.test(file)) continue
      if (pattern.test(read(file))) wrong.push(`${file}: ${pattern.source} is banned, ${instead}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('style: no test is switched off', async () => {
  const wrong: string[] = []
  for (const file of await files('src/**/*.test.ts', 'test/**/*.test.ts')) {
    if (/\b(test|it|describe)\.(skip|todo|only)\(/.test(read(file))) wrong.push(file)
  }
  assert.deepEqual(
    wrong.filter((file) => file !== 'test/tidy.test.ts'),
    [],
  )
})
