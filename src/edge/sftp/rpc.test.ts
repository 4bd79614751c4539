import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { OrbitRefusal } from '#control/orbit/orbit.ts'
import { answerCall, createDeskCaller, type RpcCall } from './rpc.ts'
import type { Desk } from './rpc-methods.ts'

/** Both ends, with messages cloned in between as between processes. */
function connect(desk: Partial<Desk>) {
  const bugs: unknown[] = []
  const caller = createDeskCaller((call) => {
    void answerCall(desk as Desk, structuredClone(call), (bug) => bugs.push(bug)).then((answer) =>
      caller.receive(structuredClone(answer)),
    )
  })
  return { ...caller, bugs }
}

test('rpc: answers find their questions, in any order', async () => {
  const held = Promise.withResolvers<void>()
  const { desk } = connect({
    keep: () => held.promise.then(() => 1),
    knowsKey: async (user, key) => user === 'jo' && key[1] === 2,
  })
  const first = desk.keep()
  assert.equal(await desk.knowsKey('jo', Buffer.from([1, 2])), true)
  held.resolve()
  assert.equal(await first, 1)
})

test('rpc: errors that a client is told of keep their kind, others stay here', async () => {
  const errors = [
    new OrbitRefusal('quota', 'too much'),
    new LibraryError('unavailable', 'disk full'),
    new Error('a bug'),
  ]
  const { desk, bugs } = connect({ keep: () => Promise.reject(errors.shift()) })
  await assert.rejects(desk.keep(), (error: OrbitRefusal) => {
    return error instanceof OrbitRefusal && error.kind === 'quota' && error.message === 'too much'
  })
  await assert.rejects(desk.keep(), (error: LibraryError) => {
    return error instanceof LibraryError && error.code === 'unavailable'
  })
  await assert.rejects(desk.keep(), /a bug/)
  assert.equal(bugs.length, 1)
})

test('rpc: nothing can be asked that is not on the list', async () => {
  const bugs: unknown[] = []
  for (const method of ['constructor', '__proto__', 'toString', 'shutdown']) {
    const call: RpcCall = { kind: 'call', id: 1, method, args: [] }
    assert.ok((await answerCall({} as Desk, call, (bug) => bugs.push(bug))).error)
  }
  assert.equal(bugs.length, 4)
})
