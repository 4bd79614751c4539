import assert from 'node:assert/strict'
import { onEach } from '../../../test/support/catalogs.ts'

onEach(
  'backlog: what is due and free waits, what is held runs, what is put off does neither',
  async (open) => {
    await using catalog = await open()
    assert.deepEqual(await catalog.jobs.backlog(1000), [])
    const account = await catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
    const add = (kind: string, subject: string, runAt: number) =>
      catalog.jobs.insert({ kind, subject, accountId: account.id, payload: {}, runAt, createdAt: 1 })
    await add('registration', 'img-00001', 900)
    await add('registration', 'img-00002', 700)
    await add('registration', 'img-00003', 800)
    await add('registration', 'img-00004', 1001)
    await add('removal', 'img-00005', 5000)
    const claim = {
      kind: 'registration',
      owner: 'one',
      now: 1000,
      generation: 1,
      leaseMs: 100,
      perAccount: 9,
    }
    assert.equal((await catalog.jobs.claim(claim))?.subject, 'img-00002')
    const backlog = async (now: number) =>
      (await catalog.jobs.backlog(now)).toSorted((a, b) => (a.kind < b.kind ? -1 : 1))
    const removal = { kind: 'removal', waiting: 0, running: 0, waitingSince: null }
    assert.deepEqual(await backlog(1000), [
      { kind: 'registration', waiting: 2, running: 1, waitingSince: 800 },
      removal,
    ])
    // Its lease has run out.
    assert.deepEqual(await backlog(1100), [
      { kind: 'registration', waiting: 4, running: 0, waitingSince: 700 },
      removal,
    ])
  },
)
