import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Ledger } from '#base/ledger.ts'
import { createReserve } from '#data/store/reserve.ts'
import type { Session } from '#model/session.ts'
import { promisedKey } from './deps.ts'
import { openLibrary, REGISTER } from './library.fixtures.ts'
import type { Library } from './library.ts'

async function eventually(library: Library, session: Session, id: string) {
  for (;;) {
    const image = await library.show(session, id)
    if (image.status !== 'creating') return image
    await setImmediate()
  }
}

test('quota: what is announced counts at once, what is not as it comes, and neither once it has failed', async () => {
  await using fixture = await openLibrary({ quota: 2048, registrations: { concurrency: 9, perAccount: 8 } })
  const { library, owner, scripted, options } = fixture
  // One after the other: of those that begin at once, any may be the first to come so far.
  const begin = async (index: number) => {
    const { id } = await library.register(owner, REGISTER)
    return { id, call: await scripted.call(index) }
  }
  const [one, other, third] = [await begin(0), await begin(1), await begin(2)]
  await one.call.admit(2000)
  await assert.rejects(
    library.register(owner, { ...REGISTER, httpUrl: null, upload: true }).then(async ({ id }) => {
      const bytes = async function* () {
        yield Buffer.alloc(49)
      }
      await library.uploads.receive(owner, id, 0, bytes(), { signal: new AbortController().signal })
    }),
    { name: 'QuotaExceeded' },
  )
  await other.call.admit(49)
  assert.equal((await eventually(library, owner, other.id)).failure?.code, 'quota')
  one.call.fail(new Error('a fault'))
  assert.equal((await eventually(library, owner, one.id)).failure?.code, 'internal')
  await third.call.admit(undefined)
  third.call.progress({ received: 2048 })
  third.call.progress({ received: 2049 })
  assert.equal((await eventually(library, owner, third.id)).failure?.code, 'quota')
  assert.equal(options.promised.sum(promisedKey(owner.accountId)), 0)
})

test('quota: objects of Orbit are bytes of the account, too', async () => {
  await using fixture = await openLibrary({ quota: 2048 })
  const { library, owner, scripted, options } = fixture
  using _objects = options.promised.take([promisedKey(owner.accountId)], 1025)
  const { id } = await library.register(owner, REGISTER)
  ;(await scripted.call(0)).succeed()
  await options.jobs.settled()
  assert.equal((await library.show(owner, id)).failure?.code, 'quota')
})

test('disk: what is announced needs room beside what others announced, and the answer has the sizes', async () => {
  const promised = new Ledger()
  const reserve = createReserve({
    directory: '/',
    bytes: 100,
    statfs: () => ({ bsize: 1, blocks: 9999, bavail: 1000 }),
  })
  await using fixture = await openLibrary({
    reserve,
    promised,
    registrations: { concurrency: 9, perAccount: 8 },
  })
  const { library, owner, scripted, clock, options } = fixture
  const one = await library.register(owner, REGISTER)
  await options.jobs.poll()
  await (await scripted.call(0)).admit(800)
  const other = await library.register(owner, REGISTER)
  await options.jobs.poll()
  await (await scripted.call(1)).admit(101)
  while (!(await library.show(owner, other.id)).progress?.message) await setImmediate()
  assert.match(
    (await library.show(owner, other.id)).progress?.message ?? '',
    /101 bytes more: 1000 are free, 800 are promised/,
  )
  ;(await scripted.call(0)).succeed()
  while ((await library.show(owner, one.id)).status === 'creating') await setImmediate()
  clock.at += 5000
  await options.jobs.poll()
  const again = await scripted.call(2)
  await again.admit(101)
  again.succeed()
  await options.jobs.settled()
  assert.equal((await library.show(owner, other.id)).status, 'available')
})
