import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mock, test } from 'node:test'
import { openCatalog } from '#control/catalog/catalog.ts'
import { catalogPath } from '../data-folder.ts'
import { main } from '../main.ts'

/** A data folder, with its catalog open as a running library has it, and the operator's command. */
async function openData() {
  const data = await mkdtemp(join(tmpdir(), 'server-types-'))
  const catalog = await openCatalog({ path: catalogPath(data) })
  const run = async (...args: string[]) => {
    const lines: string[] = []
    const print = (line: string) => void lines.push(line)
    const mocks = [mock.method(console, 'log', print), mock.method(console, 'error', print)]
    try {
      return { code: await main([...args, '--data', data]), text: lines.join('\n') }
    } finally {
      for (const { mock } of mocks) mock.restore()
    }
  }
  return {
    catalog,
    run,
    async [Symbol.asyncDispose]() {
      await catalog[Symbol.asyncDispose]()
      await rm(data, { recursive: true })
    },
  }
}

test('server-type: what cannot be is one line that names it, and changes nothing', async () => {
  await using at = await openData()
  const before = await at.catalog.serverTypes.list()
  const sizes = ['--cores', '1', '--ram', '1GiB', '--disk', '1GiB']
  const cases: [string[], RegExp][] = [
    [['add', 'tiny', '--cores', '1', '--ram', '1GiB'], /--cores, --ram and --disk are required/],
    [
      ['add', 'tiny', '--cores', '1', '--ram', 'lots', '--disk', '1GiB'],
      /--ram lots must be a size in whole/,
    ],
    [['add', 'tiny', '--cores', '1', '--ram', '1GiB', '--disk', '5'], /--disk 5 must be a size in whole MiB/],
    [
      ['add', 'tiny', '--cores', 'x', '--ram', '1GiB', '--disk', '1GiB'],
      /cores must be a whole number from 1/,
    ],
    [['add', 'tiny', '--cores', '1', '--ram', '1MiB', '--disk', '1GiB'], /ram must be a whole number of MiB/],
    [['add', 'Tiny type', ...sizes], /handle must be lower-case/],
    [['add', '1gb.ssd', ...sizes], /handle 1gb\.ssd is taken/],
    [['update', 'huge', ...sizes], /server type huge does not exist/],
    [['update', '1gb.ssd', '--status', 'gone'], /status must be experimental, available or deprecated/],
    [['update', '1gb.ssd', '--handle', '2gb.ssd'], /handle 2gb\.ssd is taken/],
    [['remove', 'typ-zzzzz'], /server type typ-zzzzz does not exist/],
  ]
  for (const [args, message] of cases) {
    const { code, text } = await at.run('server-type', ...args)
    assert.equal(code, 1, args.join(' '))
    assert.match(text, message)
  }
  assert.deepEqual(await at.catalog.serverTypes.list(), before)
})

test('server-type: types are added, changed, listed and removed beside a running library', async () => {
  await using at = await openData()
  const made = await at.run('server-type', 'add', 'tiny', '--cores', '1', '--ram', '256MiB', '--disk', '2GiB')
  const row = /^typ-\w{5} {2}tiny {4}available {2}1 {6}256 MiB {2}2 GiB {2}tiny$/m
  assert.match(made.text, row)
  assert.match((await at.run('server-type', 'list')).text, /^typ-w0hf9 .* 40 GiB .* 1GB SSD$/m)
  const { code, text } = await at.run('server-type', 'update', 'tiny', '--disk', 'none', '--name', 'Tiny net')
  assert.deepEqual([code, /none {2}Tiny net$/m.test(text)], [0, true])
  const found = await at.catalog.serverTypes.find('tiny')
  assert.deepEqual([found?.storageType, found?.diskSize, found?.ram], ['network', 0, 256])
  await at.run('server-type', 'update', 'tiny', '--status', 'deprecated')
  assert.equal((await at.catalog.serverTypes.find('tiny'))?.status, 'deprecated')
  assert.equal((await at.run('server-type', 'remove', 'tiny')).code, 0)
  assert.equal(await at.catalog.serverTypes.find('tiny'), undefined)
})

test('account limits: what is no limit is refused, and a missing account', async () => {
  await using at = await openData()
  const { id } = await at.catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
  for (const [flag, value] of [
    ['--servers', 'many'],
    ['--servers', '1.5'],
    ['--servers', ''],
    ['--ram', '10'],
    ['--disk', '5000000000 GiB'],
  ] as const) {
    const { code, text } = await at.run('account', 'limits', id, flag, value)
    assert.equal(code, 1, `${flag} ${value}`)
    assert.match(text, /must be none, default or/)
  }
  const missing = await at.run('account', 'limits', 'acc-zzzzz')
  assert.deepEqual([missing.code, missing.text], [1, 'error: account acc-zzzzz does not exist'])
  assert.equal((await at.catalog.accounts.limits(id)).ram, 'default')
})

test('account limits: each is set by itself, shown, and set back', async () => {
  await using at = await openData()
  const { id } = await at.catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
  const run = async (...args: string[]) =>
    (await at.run('account', 'limits', id, ...args)).text.split('\n')[1]?.split(/ {2,}/)
  assert.deepEqual(await run(), [id, 'default', 'default', 'default'])
  assert.deepEqual(await run('--servers', '3', '--ram', '64GiB'), [id, '3', '64 GiB', 'default'])
  assert.deepEqual(await run('--disk', 'none', '--servers', '0'), [id, '0', '64 GiB', 'none'])
  assert.deepEqual(await run('--ram', 'default'), [id, '0', 'default', 'none'])
})
