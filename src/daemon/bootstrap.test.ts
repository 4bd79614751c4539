import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createAuth } from '#control/auth/create-auth.ts'
import { openTestCatalog } from '../../test/support/catalogs.ts'
import { SyncedFiles } from '../../test/support/synced-files.ts'
import { type BootstrapDeps, bootstrap, iniPath } from './bootstrap.ts'
import { makeDataFolder } from './data-folder.ts'

const URL_TEXT = 'http://127.0.0.1:8080'

async function openFolder() {
  const data = await mkdtemp(join(tmpdir(), 'bootstrap-'))
  const catalog = await openTestCatalog()
  const auth = createAuth({ catalog, now: Date.now, random: randomBytes })
  const deps: BootstrapDeps = { auth, catalog, data, apiUrl: URL_TEXT }
  return {
    deps,
    ini: iniPath(data),
    async [Symbol.asyncDispose]() {
      await catalog[Symbol.asyncDispose]()
      await rm(data, { recursive: true })
    },
  }
}

/** Dependencies with which a start is cut off at the nth step that writes. */
function crashing(deps: BootstrapDeps, steps: number): BootstrapDeps {
  let left = steps
  const guard = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(_, key) {
        const call = target[key as keyof T]
        if (!/^(create|set)/.test(String(key)) || typeof call !== 'function') return call
        return (...args: unknown[]) => {
          if (left-- === 0) throw new Error('crash')
          return call.apply(target, args)
        }
      },
    })
  const { auth, catalog } = deps
  return {
    ...deps,
    auth: { operator: guard(auth.operator) },
    catalog: { ...catalog, settings: guard(catalog.settings) },
  }
}

test('bootstrap: a start that is cut off at any step is made good by the next', async () => {
  for (let steps = 0; steps < 4; steps++) {
    await using folder = await openFolder()
    const { deps, ini } = folder
    await assert.rejects(bootstrap(crashing(deps, steps)), /crash/, `step ${steps}`)
    // Only its very last step was missing where the configuration is there.
    const wasWritten = existsSync(ini)
    const made = await bootstrap(deps)
    assert.equal(made === undefined, wasWritten, `step ${steps}`)
    assert.equal((await deps.auth.operator.listAccounts()).length, 1)
    if (made) {
      assert.match(await readFile(ini, 'utf8'), new RegExp(`secret = ${made.secret}`))
      assert.equal((await deps.catalog.users.findByEmail(made.email))?.accountIds[0], made.accountId)
    }
    assert.equal(await bootstrap(deps), undefined)
  }
})

test('bootstrap: a library that listens elsewhere changes its own section alone', async () => {
  await using folder = await openFolder()
  const { deps, ini } = folder
  await bootstrap(deps)
  const foreign = '[cli-other]\nclient_id = cli-other\napi_url = https://api.example.org\n'
  await writeFile(ini, `${await readFile(ini, 'utf8')}\n${foreign}`)
  await bootstrap({ ...deps, apiUrl: 'http://127.0.0.1:9090' })
  const text = await readFile(ini, 'utf8')
  assert.ok(text.endsWith(foreign), text)
  assert.match(text, /^api_url = http:\/\/127\.0\.0\.1:9090$/m)
  assert.doesNotMatch(text, /8080/)
})

test('bootstrap: a catalog that was restored without its configuration gets no other client', async () => {
  await using folder = await openFolder()
  const { deps, ini } = folder
  await bootstrap(deps)
  await rm(ini)
  assert.equal(await bootstrap(deps), undefined)
  assert.equal(existsSync(ini), false)
})

test('bootstrap: a configuration of another library is put aside, not taken for a sign of this one', async () => {
  await using folder = await openFolder()
  const { deps, ini } = folder
  const foreign = '[cli-other]\nclient_id = cli-other\nsecret = kept\n'
  await writeFile(ini, foreign)
  const made = await bootstrap(deps)
  assert.ok(made)
  assert.match(await readFile(ini, 'utf8'), new RegExp(made.clientId))
  assert.equal(await readFile(`${ini}.old`, 'utf8'), foreign)
})

test('bootstrap: once it says that it is done, a power cut takes neither folder nor configuration', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'bootstrap-'))
  using synced = await SyncedFiles.watch()
  const data = join(parent, 'above', 'data')
  await makeDataFolder(data)
  synced.assertSafe(join(parent, 'above'))
  await using opened = await openFolder()
  await bootstrap({ ...opened.deps, data })
  synced.assertSafe(join(parent, 'above'))
  await bootstrap({ ...opened.deps, data, apiUrl: 'http://127.0.0.1:9090' })
  synced.assertSafe(join(parent, 'above'))
  await rm(parent, { recursive: true })
})
