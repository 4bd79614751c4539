import assert from 'node:assert/strict'
import { lstatSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connectTo, diskOf, isClosed, MANIFEST, open } from './nbd.fixtures.ts'
import { createOffer } from './offer.ts'
import { Budget } from './transmission.ts'

const OWNER = { uid: 931_999, gid: 931_999 }
const AS_ROOT = { skip: process.getuid?.() === 0 ? false : 'needs root, to give a socket away' }

async function serverFolder(t: TestContext) {
  const parent = await mkdtemp(join(tmpdir(), 'offer-'))
  t.after(() => rm(parent, { recursive: true }))
  const folder = join(parent, 'srv-aaaaa')
  await mkdir(folder)
  const make = createOffer({ openDisk: async () => diskOf(Buffer.alloc(4096)), log: { error: () => {} } })
  const offer = (owner: typeof OWNER) => make({ path: join(folder, 's.sock'), manifest: MANIFEST, owner })
  return { parent, folder, victim: join(parent, 'victim'), offer }
}

test('offer: its owner can put nothing in the place of the socket before it is his', AS_ROOT, async (t) => {
  const { parent, folder, victim, offer } = await serverFolder(t)
  writeFileSync(victim, 'secret', { mode: 0o600 })
  let seen: string[] = []
  const owner = {
    gid: OWNER.gid,
    /** Asked for right before the socket is given away. */
    get uid() {
      seen = readdirSync(folder)
      for (const name of seen) {
        rmSync(join(folder, name))
        symlinkSync(victim, join(folder, name))
      }
      return OWNER.uid
    },
  }
  await using _ = await offer(owner)
  assert.deepEqual(seen, [])
  assert.deepEqual([lstatSync(victim).uid, lstatSync(victim).mode & 0o777], [0, 0o600])
  assert.equal(lstatSync(join(folder, 's.sock')).uid, OWNER.uid)
  assert.deepEqual(readdirSync(parent).sort(), ['srv-aaaaa', 'victim'])
})

test('offer: it ends although its owner put a folder in its place', AS_ROOT, async (t) => {
  const { folder, offer } = await serverFolder(t)
  const made = await offer(OWNER)
  rmSync(join(folder, 's.sock'))
  mkdirSync(join(folder, 's.sock', 'deep'), { recursive: true })
  await made[Symbol.asyncDispose]()
})

test('offer: its owner has a few connections and no more', AS_ROOT, async (t) => {
  const { folder, offer } = await serverFolder(t)
  await using _ = await offer(OWNER)
  await using clients = new AsyncDisposableStack()
  const connect = async () => clients.use(await connectTo({ path: join(folder, 's.sock') }))
  for (let count = 0; count < 8; count++) await open(await connect())
  assert.ok(await isClosed(await connect()))
})

test('offer: what its owner may hold is a part of what all may', () => {
  const everybody = new Budget(10)
  const one = new Budget(8, everybody)
  const other = new Budget(8, everybody)
  const takeAll = (budget: Budget) => {
    let count = 0
    while (budget.take()) count++
    return count
  }
  assert.deepEqual([takeAll(one), takeAll(other), takeAll(everybody)], [8, 2, 0])
  one.giveBack()
  assert.deepEqual([takeAll(other), takeAll(one)], [1, 0])
})
