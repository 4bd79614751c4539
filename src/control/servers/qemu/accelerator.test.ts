import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needs } from '../../../../test/support/tools.ts'
import { createAccelerator, runsGuest } from './accelerator.ts'

const log = { info() {}, warn() {}, error() {} }

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'accelerator-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

test('accelerator: the tiny guest gets to its end under emulation', needs('qemu-system-x86_64'), async () => {
  await using folder = await temporaryFolder()
  assert.equal(await runsGuest('tcg', folder.path), true)
  assert.deepEqual(await readdir(folder.path), [])
})

test('accelerator: KVM gives an answer in time, whatever it does', needs('qemu-system-x86_64'), async () => {
  await using folder = await temporaryFolder()
  const from = performance.now()
  assert.equal(typeof (await runsGuest('kvm', folder.path)), 'boolean')
  assert.ok(performance.now() - from < 10_000)
  assert.deepEqual(await readdir(folder.path), [])
})

test('accelerator: a setting is obeyed without a proof', async () => {
  const prove = () => assert.fail('nothing is to be proved')
  for (const accelerator of ['kvm', 'tcg'] as const) {
    const choose = createAccelerator({ folder: '/nonexistent', accelerator, log, prove })
    assert.equal(await choose(), accelerator)
  }
})

test('accelerator: what was proved is remembered, until the machine is another', async () => {
  await using folder = await temporaryFolder()
  let proofs = 0
  const choose = (result: boolean) =>
    createAccelerator({
      folder: folder.path,
      accelerator: 'auto',
      log,
      prove: async () => {
        proofs += 1
        return result
      },
    })
  const first = choose(true)
  assert.deepEqual(await Promise.all([first(), first()]), ['kvm', 'kvm'])
  assert.equal(await choose(false)(), 'kvm')
  assert.equal(proofs, 1)
  const path = join(folder.path, 'accelerator.json')
  const kept = JSON.parse(await readFile(path, 'utf8'))
  await writeFile(path, JSON.stringify({ ...kept, machine: 'another boot' }))
  assert.equal(await choose(false)(), 'tcg')
  for (const damaged of ['', '{', '[]', JSON.stringify({ ...kept, accelerator: 'xen' })]) {
    await writeFile(path, damaged)
    assert.equal(await choose(true)(), 'kvm')
  }
  assert.equal(proofs, 6)
})

test('accelerator: a proof that could not be done is done again', async () => {
  await using folder = await temporaryFolder()
  let fails = true
  const choose = createAccelerator({
    folder: folder.path,
    accelerator: 'auto',
    log,
    prove: async () => {
      if (fails) throw new Error('disk full')
      return true
    },
  })
  await assert.rejects(choose(), { message: 'disk full' })
  fails = false
  assert.equal(await choose(), 'kvm')
})
