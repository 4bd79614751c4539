import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exampleBytes } from '#data/content/content.fixtures.ts'
import { createLoginGuard } from './login-guard.ts'
import { openFixture } from './sftp.fixtures.ts'

test('desk: a login is a number, good until it is logged out', async (t) => {
  const { openDesk } = await openFixture(t)
  await using desk = openDesk()
  assert.equal(await desk.loginByPassword('owner', 'wrong', '::1'), undefined)
  assert.equal(await desk.loginByPassword('nobody', 'secret', '::1'), undefined)
  const login = await desk.loginByPassword('owner', 'secret', '::1')
  assert.ok(login)
  assert.ok(await desk.showContainer(login, 'c'))
  await assert.rejects(async () => desk.showContainer(login + 1, 'c'), /nobody is logged in/)
  await desk.logout(login)
  await assert.rejects(async () => desk.showContainer(login, 'c'), /nobody is logged in/)
})

test('desk: a login ends with what let it in, and whoever waits for that is told', async (t) => {
  const { openDesk, stays, guard } = await openFixture(t)
  await using desk = openDesk()
  const login = (await desk.loginByPassword('owner', 'secret', '::1'))!
  const [stay] = stays
  const over = desk.untilOver(login)
  stay?.abort()
  await over
  await assert.rejects(async () => desk.showContainer(login, 'c'), /nobody is logged in/)
  assert.equal(stays.size, 0)
  await desk.untilOver(login)
  const others = Array.from({ length: 8 }, () => guard.enter('cli-owner', '::1'))
  assert.ok(others.every(Boolean), 'its place is free again')
  const second = (await desk.loginByKey('storage', Buffer.from('key'), '::1'))!
  const left = desk.untilOver(second)
  await desk.logout(second)
  await left
  assert.equal(stays.size, 0)
})

test('desk: what was lent comes back with the process that it was lent to', async (t) => {
  const { openDesk, put } = await openFixture(t)
  await put('large', exampleBytes(100_000))
  const desk = openDesk()
  const login = (await desk.loginByPassword('owner', 'secret', '::1'))!
  const { lease, info } = await desk.locate(login, { container: 'c', object: 'large' })
  assert.equal(info.size, 100_000)
  await desk.release(lease)
  await desk.release(lease)
  await desk.locate(login, { container: 'c', object: 'large' })
  await desk.keep()
  await desk[Symbol.asyncDispose]()
  await assert.rejects(async () => desk.showContainer(login, 'c'), /nobody is logged in/)
})

test('guard: a login has so many connections, and their ends are counted once', () => {
  const guard = createLoginGuard({ perLogin: 2, now: () => 0 })
  const visits = [guard.enter('cli-a', '::1'), guard.enter('cli-a', '::2')]
  assert.equal(guard.enter('cli-a', '::1'), undefined)
  assert.ok(guard.enter('cli-b', '::1'))
  visits[0]?.[Symbol.dispose]()
  assert.ok(guard.enter('cli-a', '::1'))
  assert.equal(guard.enter('cli-a', '::1'), undefined)
})

test('guard: an address that fails and fails must wait, until somebody there knows the password', () => {
  let now = 0
  const guard = createLoginGuard({ perLogin: 2, now: () => now })
  for (let n = 0; n < 5; n++) guard.failed('::1')
  assert.ok(guard.delayMs('::1') > 0)
  assert.equal(guard.delayMs('2001:db8::1'), 0)
  assert.equal(guard.delayMs('::2'), guard.delayMs('::1'), 'who has one has 2^64 of them')
  now += guard.delayMs('::1')
  assert.equal(guard.delayMs('::1'), 0)
  guard.failed('::1')
  assert.ok(guard.delayMs('::1') > 1000)
  guard.enter('cli-a', '::1')
  assert.equal(guard.delayMs('::1'), 0)
})
