import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pace } from './connect-socket.ts'
import { createDiskGraph } from './disk-graph.ts'
import { LineFeed, limitQmp, type Qmp, shortText } from './qmp.ts'

/** A disk as a QEMU says it, highest first, that ends in what is not said to be below anything. */
const diskOf = (names: readonly unknown[]) => [
  {
    qdev: '/machine/peripheral/disk/virtio-backend',
    ...names.reduceRight<object>((below, name) => ({ 'node-name': name, backing: below }), {}),
  },
]

/** A monitor in the hands of somebody else. */
function monitorOf(answer: (command: string, args: object) => unknown) {
  const asked: string[] = []
  const qmp: Qmp = {
    async execute(command, args = {}) {
      asked.push(command)
      return answer(command, args)
    },
    closed: new Promise(() => {}),
    close() {},
  }
  return { asked, qmp }
}

for (const [what, names] of [
  ["another server's layer", ['layer-1.qcow2', '../srv-bbbbb/layer-0.qcow2', 'base']],
  ['a file of the host', ['../../../../etc/shadow', 'base']],
  ['options for QEMU', ['layer-1.qcow2,format=raw', 'base']],
  ['the same layer twice', ['layer-1.qcow2', 'layer-1.qcow2', 'base']],
  ['the base above a layer', ['base', 'layer-0.qcow2', 'base']],
  ['nothing below the layers', ['layer-1.qcow2', 'layer-0.qcow2']],
  ['no layer', ['base']],
  ['what is no name', [{ toString: 1 }, 'base']],
  ['more layers than there are', [...Array.from({ length: 9999 }, (_, n) => `layer-${n}.qcow2`), 'base']],
] as const) {
  test(`disk of a QEMU that was taken over: ${what} is not believed`, async () => {
    const { asked, qmp } = monitorOf((command) => (command === 'query-blockstats' ? diskOf(names) : []))
    const graph = createDiskGraph(qmp)
    const error = { code: 'unavailable', message: /none that we made/ }
    await assert.rejects(graph.layers(), error)
    const around = { before: async () => {}, frozen: async () => assert.fail('nothing is changed') }
    await assert.rejects(graph.addLayer('layer-9.qcow2', around), error)
    assert.deepEqual([...new Set(asked)], ['query-blockstats', 'query-jobs'])
  })
}

test('disk of a QEMU that was taken over: a list of jobs without end is not worked through', async () => {
  const jobs = Array.from({ length: 100_000 }, (_, id) => ({ id, status: 'running' }))
  const { asked, qmp } = monitorOf((command) => {
    if (command === 'query-jobs') return jobs
    return command === 'query-blockstats' ? diskOf(['layer-0.qcow2', 'base']) : {}
  })
  const limited = limitQmp(qmp, 200)
  await assert.rejects(createDiskGraph(limited).switchToBase(), { code: 'unavailable' })
  assert.ok(asked.length < 1000, `${asked.length} commands`)
})

test('QMP: work is over after its limit, and nothing more is asked', async () => {
  const { asked, qmp } = monitorOf(() => ({}))
  const limited = limitQmp(qmp, 0)
  await assert.rejects(limited.execute('query-status'), { code: 'unavailable', message: /more than 0 s/ })
  assert.deepEqual(asked, [])
})

test('QMP: what is shown to people is short, and is text', () => {
  assert.equal(shortText(`\u001b[2J${'x'.repeat(999)}`).length, 200)
  assert.equal(shortText('a\nb\u0007'), 'a b ')
  assert.equal(shortText({ toString: 1 }), 'no reason')
})

test('lines: one that comes byte by byte takes the memory of its length', () => {
  const feed = new LineFeed()
  const before = process.memoryUsage()
  for (let count = 0; count < 3 * 1024 * 1024; count++) assert.deepEqual(feed.push(Buffer.of(120)), [])
  const after = process.memoryUsage()
  const more = after.heapUsed + after.external - before.heapUsed - before.external
  assert.ok(more < 64 * 1024 * 1024, `${more} bytes more`)
  assert.equal(feed.push(Buffer.of(10))[0]?.length, 3 * 1024 * 1024)
})

async function pairOfSockets(t: TestContext): Promise<{ readonly near: Socket; readonly far: Socket }> {
  const folder = await mkdtemp(join(tmpdir(), 'pace-'))
  const server = createServer().listen(join(folder, 's'))
  await once(server, 'listening')
  const near = connect(join(folder, 's'))
  const [far] = (await once(server, 'connection')) as [Socket]
  t.after(async () => {
    for (const end of [near, far, server]) 'destroy' in end ? end.destroy() : end.close()
    await rm(folder, { recursive: true })
  })
  return { near, far }
}

test('pace: who floods waits, and who says what there is to say does not', { timeout: 30_000 }, async (t) => {
  const { near, far } = await pairOfSockets(t)
  pace(near)
  let got = 0
  near.on('data', ({ length }: Buffer) => {
    got += length
  })
  const MiB = 1024 * 1024
  far.write(Buffer.alloc(4 * MiB))
  while (got < 4 * MiB) await once(near, 'data')
  far.write(Buffer.alloc(64 * MiB))
  await once(near, 'pause')
  assert.ok(got < 20 * MiB, `${got} bytes`)
  await once(near, 'resume')
  await once(near, 'data')
})
