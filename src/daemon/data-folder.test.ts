import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { closeToOthers, demandLibrary, makeDataFolder } from './data-folder.ts'
import { lockDataFolder } from './data-lock.ts'

const folder = mkdtempSync(join(tmpdir(), 'data-folder-'))
after(() => rmSync(folder, { recursive: true }))
const at = (name: string) => join(folder, name)
const modeOf = (path: string) => statSync(path).mode & 0o777

test('data folder: it is made with those above it, for its owner alone, and may be there already', async () => {
  await makeDataFolder(at('a/b/c'))
  await makeDataFolder(at('a/b/c'))
  assert.deepEqual([modeOf(at('a')), modeOf(at('a/b/c'))], [0o700, 0o700])
})

test('data folder: what cannot become one is named, in one line and at once', async () => {
  writeFileSync(at('file'), '')
  symlinkSync(at('nowhere'), at('dangling'))
  const cases = [
    [at('file'), 'invalid', /it is not a folder$/],
    [at('file/x/y'), 'invalid', /something in its path is not a folder$/],
    [at('dangling'), 'invalid', /something in its path is not a folder$/],
    ['/proc/x/y', 'invalid', /the system makes no folder there$/],
  ] as const
  for (const [path, code, message] of cases) {
    await assert.rejects(makeDataFolder(path), (error: Error & { code: string }) => {
      assert.equal(error.code, code)
      assert.match(error.message, message)
      assert.ok(error.message.startsWith(`use the data folder ${path}: `), error.message)
      return true
    })
  }
})

test('data folder: commands tell one that is a file or missing from one without a library', async () => {
  writeFileSync(at('plain'), '')
  await assert.rejects(demandLibrary(at('plain')), { code: 'invalid' })
  await assert.rejects(demandLibrary(at('missing')), { code: 'not_found' })
  await assert.rejects(demandLibrary(folder), { code: 'not_found', message: /there is no library in it/ })
})

test('data folder: one that the user may not enter is denied', { skip: process.getuid?.() !== 0 }, () => {
  // Root may enter everything, so another user tries.
  chmodSync(folder, 0o755)
  mkdirSync(at('closed'), { mode: 0o700 })
  const script = `
    const { makeDataFolder, demandLibrary } = await import(${JSON.stringify(import.meta.resolve('./data-folder.ts'))})
    process.setuid(65534)
    for (const use of [makeDataFolder, demandLibrary])
      await use(${JSON.stringify(at('closed'))}).catch((error) => console.log(error.code, error.message))`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  const line = `denied use the data folder ${at('closed')}: the system does not allow it (EACCES)\n`
  assert.equal(stdout, line + line)
})

test('data folder: a lock that cannot be made is told in one line', () => {
  assert.throws(() => lockDataFolder('/proc'), {
    code: 'unavailable',
    message: 'lock the folder /proc: no file can be made in it',
  })
})

test('data folder: files and folders made before under an open umask are closed to others', async () => {
  mkdirSync(at('open'), { mode: 0o755 })
  chmodSync(at('open'), 0o755)
  for (const name of ['open/store', 'open/spool']) mkdirSync(at(name), { mode: 0o755 })
  writeFileSync(at('open/catalog.sqlite'), '', { mode: 0o644 })
  assert.equal(await closeToOthers(at('open')), true)
  const modes = ['open/store', 'open/spool', 'open/catalog.sqlite'].map((name) => modeOf(at(name)))
  assert.deepEqual(modes, [0o700, 0o700, 0o600])
  chmodSync(at('open'), 0o700)
  assert.equal(await closeToOthers(at('open')), false)
})
