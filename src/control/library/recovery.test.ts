import assert from 'node:assert/strict'
import { test } from 'node:test'
import { removalOf } from './changing.ts'
import { REGISTRATION } from './deps.ts'
import { openLibrary, REGISTER } from './library.fixtures.ts'
import { recover } from './recovery.ts'

test('recovery: what has no job any more is ended, what has one is left alone', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options } = fixture
  const { catalog } = options
  const register = async () => (await library.register(owner, REGISTER)).id
  const [lost, kept, deleting, removed] = [
    await register(),
    await register(),
    await register(),
    await register(),
  ]
  await catalog.transaction(async ({ jobs, images }) => {
    await jobs.remove(REGISTRATION, lost)
    for (const id of [deleting, removed]) {
      await jobs.remove(REGISTRATION, id)
      await images.update(id, { status: 'deleting' }, ['creating'])
    }
    await jobs.insert(removalOf({ id: removed, accountId: owner.accountId }, 7, 7))
  })
  await recover(options)
  const statusOf = async (id: string) => (await catalog.images.find(id))?.status
  assert.deepEqual([await statusOf(lost), await statusOf(kept)], ['failed', 'creating'])
  // The library works on those, as soon as it looks.
  await options.jobs.poll()
  for (const id of [deleting, removed])
    while ((await statusOf(id)) !== 'deleted') await new Promise((resolve) => setTimeout(resolve, 5))
  assert.ok(await catalog.jobs.find(REGISTRATION, kept))
})

test('recovery: where nothing is stuck, nobody waits for it', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options } = fixture
  await library.register(owner, REGISTER)
  const transaction = () => assert.fail('a transaction, which keeps all others waiting')
  await recover({ ...options, catalog: { ...options.catalog, transaction } })
})
