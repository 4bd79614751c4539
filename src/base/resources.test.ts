import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Resources } from './resources.ts'

test('resources: who comes first is served first', async () => {
  const resources = new Resources(['only'])
  await resources.acquire()
  const order: string[] = []
  const waiting = [
    resources.acquire().then(() => order.push('a')),
    resources.acquire().then(() => order.push('b')),
  ]
  resources.release('only')
  await waiting[0]
  resources.release('only')
  await waiting[1]
  assert.deepEqual(order, ['a', 'b'])
})

test('resources: after a failure those who wait and those who come are told its reason, the first one', async () => {
  const resources = new Resources(['only'])
  await resources.acquire()
  const waiting = resources.acquire()
  resources.fail('broken')
  resources.fail('again')
  await assert.rejects(waiting, (reason) => reason === 'broken')
  await assert.rejects(resources.acquire(), (reason) => reason === 'broken')
})
