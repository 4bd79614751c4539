import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import {
  addLayer,
  attachGuest,
  becomes,
  machineFolders,
  offerBase,
} from '../../../../test/support/machine-folder.ts'
import { guestOffset } from '../../../../test/support/serial-guest.ts'
import { needs } from '../../../../test/support/tools.ts'
import { connectSocket } from './connect-socket.ts'
import type { MachineSpec } from './machine.ts'
import { openQmp } from './qmp.ts'

const run = promisify(execFile)
const [L0, L1, L2, L3] = [0, 1, 2, 3].map((n) => `layer-${n}.qcow2`) as [string, string, string, string]

/** Whether a chain of layers, read by other tools, has this letter at the guest's digit; lowest first. */
async function hasLetter(folder: string, layers: readonly string[], digit: number, letter: string) {
  const image = layers.reduce<object>(
    (backing, name) => ({ driver: 'qcow2', file: { driver: 'file', filename: join(folder, name) }, backing }),
    { driver: 'raw', file: { driver: 'file', filename: join(folder, 'base.raw') } },
  )
  const command = `read -P ${letter.charCodeAt(0)} ${guestOffset(digit)} 512`
  const { stdout } = await run('qemu-io', ['-r', '-U', '-c', command, `json:${JSON.stringify(image)}`])
  return !stdout.includes('verification failed')
}

/** Asks a machine that was let go of for what a daemon that crashed left half done. */
async function leaveBehind(spec: MachineSpec, commands: readonly (readonly [string, object])[]) {
  const socket = await connectSocket(spec.folder, 'monitor.sock')
  const qmp = await openQmp({ socket, limitMs: 5000, onEvent() {} })
  for (const [command, args] of commands) await qmp.execute(command, args)
  qmp.close()
}

const MAY_MOUNT = process.getuid?.() === 0 ? {} : { skip: 'needs root, to mount a small file system' }
const TOOLS = needs('qemu-system-x86_64', 'qemu-img', 'qemu-io', 'qemu-nbd')

describe('disk of a machine that runs', { ...TOOLS, concurrency: 2 }, () => {
  for (const compatibilityMode of [false, true]) {
    test(`layers are added and merged${compatibilityMode ? ' in compatibility mode' : ''}`, async () => {
      await using folders = await machineFolders()
      const spec = await folders.add('srv-aaaaa', { compatibilityMode })
      const machine = await folders.start(spec)
      using guest = await attachGuest(spec)
      await guest.tell('w1a')
      for (const [name, command] of [
        [L1, 'w1b'],
        [L2, 'w2c'],
        [L3, 'w1d'],
      ] as const) {
        await addLayer(spec.folder, name)
        const { pausedMs, frozen } = await machine.addLayer(name)
        assert.equal(frozen, false)
        assert.ok(pausedMs < 1000, `${pausedMs} ms`)
        await guest.tell(command)
      }
      assert.deepEqual(await machine.layers(), [L0, L1, L2, L3])
      // What is below reads as it was, while the guest goes on.
      assert.ok(await hasLetter(spec.folder, [L0], 1, 'a'))
      assert.ok(await hasLetter(spec.folder, [L0, L1], 1, 'b'))
      assert.ok(await hasLetter(spec.folder, [L0, L1, L2], 2, 'c'))
      await machine.mergeLayers(new AbortController().signal)
      assert.deepEqual(await machine.layers(), [L0, L3])
      for (const name of [L1, L2]) await rm(join(spec.folder, name))
      assert.deepEqual([await guest.tell('r1'), await guest.tell('r2')], ['d', 'c'])
      // A layer that is no longer used may come again.
      await addLayer(spec.folder, L1)
      await machine.addLayer(L1)
      assert.equal(await guest.tell('w1e'), 'e')
      await machine.mergeLayers(new AbortController().signal)
      await machine.mergeLayers(new AbortController().signal)
      assert.deepEqual(await machine.layers(), [L0, L1])
      await machine.quit()
      assert.ok(await hasLetter(spec.folder, [L0], 1, 'd'))
      assert.ok(await hasLetter(spec.folder, [L0, L1], 1, 'e'))
      for (const name of [L0, L1]) {
        const file = { driver: 'file', filename: join(spec.folder, name) }
        const layer = JSON.stringify({ driver: 'qcow2', file, backing: null })
        await run('qemu-img', ['check', '-q', `json:${layer}`])
      }
    })
  }

  test('a merge that is aborted, or that a new layer overtakes, changes nothing', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa')
    const machine = await folders.start(spec)
    using guest = await attachGuest(spec)
    for (const [name, command] of [
      [L1, 'w1a'],
      [L2, 'w2b'],
    ] as const) {
      await addLayer(spec.folder, name)
      await machine.addLayer(name)
      await guest.tell(command)
    }
    const abort = new AbortController()
    const aborted = machine.mergeLayers(abort.signal)
    abort.abort(new Error('stopped here'))
    await assert.rejects(aborted, { message: 'stopped here' })
    await addLayer(spec.folder, L3)
    const overtaken = assert.rejects(machine.mergeLayers(new AbortController().signal), { code: 'conflict' })
    await machine.addLayer(L3)
    await overtaken
    assert.deepEqual(await machine.layers(), [L0, L1, L2, L3])
    assert.deepEqual([await guest.tell('r1'), await guest.tell('r2')], ['a', 'b'])
  })

  test('a layer that is not there or no layer is not added, and the guest goes on', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa')
    const machine = await folders.start(spec)
    using guest = await attachGuest(spec)
    await assert.rejects(machine.addLayer(L1))
    await writeFile(join(spec.folder, L1), 'no layer')
    await assert.rejects(machine.addLayer(L1), { code: 'unavailable' })
    await run('ln', ['-f', join(spec.folder, 'base.raw'), join(spec.folder, L1)])
    await assert.rejects(machine.addLayer(L1), { message: /not a file of its own/ })
    assert.deepEqual(await machine.layers(), [L0])
    assert.equal(await guest.tell('w1a'), 'a')
  })

  test('a guest reads the export first and the base later', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa', { base: 'export' })
    await using offer = await offerBase(spec.folder)
    const machine = await folders.start(spec)
    using guest = await attachGuest(spec)
    await guest.tell('w1a')
    await addLayer(spec.folder, L1)
    await machine.addLayer(L1)
    assert.equal(await machine.usesExport(), true)
    await rename(join(spec.folder, 'base.raw'), join(spec.folder, 'later'))
    await assert.rejects(machine.switchToBase(), { code: 'unavailable', message: /base\.raw/ })
    assert.equal(await machine.usesExport(), true)
    await rename(join(spec.folder, 'later'), join(spec.folder, 'base.raw'))
    await machine.switchToBase()
    await machine.switchToBase()
    assert.equal(await machine.usesExport(), false)
    await offer[Symbol.asyncDispose]()
    assert.deepEqual([await guest.tell('r1'), await guest.tell('r0')], ['a', '1'])
    await guest.tell('w2b')
    assert.deepEqual(await machine.layers(), [L0, L1])
    assert.equal(await machine.isHeld(), false)
  })

  for (const [what, speed] of [
    ['under way', 1],
    ['done', 0],
  ] as const) {
    test(`what a crash left half done is in nobody’s way: its merge is ${what}`, async () => {
      await using folders = await machineFolders()
      const spec = await folders.add('srv-aaaaa', { base: 'export' })
      await using _ = await offerBase(spec.folder)
      const first = await folders.start(spec)
      using guest = await attachGuest(spec)
      first.detach()
      await addLayer(spec.folder, L1)
      const file = (name: string) => ({ driver: 'file', filename: name })
      await leaveBehind(spec, [
        ['blockdev-add', { 'node-name': 'base', driver: 'raw', 'read-only': true, file: file('base.raw') }],
        ['blockdev-add', { 'node-name': L1, driver: 'qcow2', backing: null, file: file(L1) }],
      ])
      const second = await folders.createNew().find(spec.folder)
      await second?.addLayer(L1)
      await second?.switchToBase()
      for (const command of ['w1a', 'w2b', 'w3c']) await guest.tell(command)
      await addLayer(spec.folder, L2)
      await second?.addLayer(L2)
      second?.detach()
      const merge = {
        'job-id': 'merge',
        device: L2,
        'top-node': L1,
        'base-node': L0,
        'auto-dismiss': false,
        speed,
      }
      await leaveBehind(spec, [['block-commit', merge]])
      const third = await folders.createNew().find(spec.folder)
      await third?.mergeLayers(new AbortController().signal)
      assert.deepEqual(await third?.layers(), [L0, L2])
      assert.equal(await third?.usesExport(), false)
      assert.equal(await guest.tell('r1'), 'a')
      await rm(join(spec.folder, L1))
      await addLayer(spec.folder, L1)
      await third?.addLayer(L1)
      assert.equal(await guest.tell('r1'), 'a')
    })
  }

  test('a guest whose export is away waits, is held, and goes on when it is back', async () => {
    await using folders = await machineFolders()
    const spec = await folders.add('srv-aaaaa', { base: 'export' })
    const offer = await offerBase(spec.folder)
    const machine = await folders.start(spec)
    using guest = await attachGuest(spec)
    assert.equal(await guest.tell('r0'), '1')
    await offer[Symbol.asyncDispose]()
    const soon = guest.tell('r1')
    await using again = await offerBase(spec.folder)
    assert.equal(await soon, '\0')
    await again[Symbol.asyncDispose]()
    const late = guest.tell('r2')
    assert.ok(await becomes(() => machine.isHeld()))
    assert.deepEqual(await machine.layers(), [L0])
    await using _ = await offerBase(spec.folder)
    // Its first try may come before QEMU has connected again.
    let isDone = false
    const done = late.then(() => {
      isDone = true
    })
    await becomes(async () => {
      if (await machine.isHeld()) await machine.release()
      return isDone
    })
    await done
    assert.equal(await machine.isHeld(), false)
  })

  test('a guest whose host is full is held, and loses nothing', MAY_MOUNT, async () => {
    await using folders = await machineFolders()
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folders.folder])
    try {
      const spec = await folders.add('srv-aaaaa')
      const machine = await folders.start(spec)
      using guest = await attachGuest(spec)
      for (const [name, command] of [
        [L1, 'w1a'],
        [L2, 'w3c'],
      ] as const) {
        await addLayer(spec.folder, name)
        await machine.addLayer(name)
        await guest.tell(command)
      }
      const filler = join(folders.folder, 'filler')
      await run('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k']).catch(() => {})
      const merging = machine.mergeLayers(new AbortController().signal)
      await assert.rejects(merging, { code: 'unavailable', message: /merge layers: .*No space/ })
      assert.deepEqual(await machine.layers(), [L0, L1, L2])
      const late = guest.tell('w2b')
      assert.ok(await becomes(() => machine.isHeld()))
      await machine.release()
      assert.ok(await becomes(() => machine.isHeld()))
      await rm(filler)
      await machine.release()
      assert.equal(await late, 'b')
      assert.deepEqual([await guest.tell('r1'), await guest.tell('r2')], ['a', 'b'])
      await machine.mergeLayers(new AbortController().signal)
      assert.equal(await guest.tell('r1'), 'a')
      await machine.quit()
    } finally {
      await folders.machines.endOthers(folders.folder, new Set())
      await run('umount', [folders.folder])
    }
  })
})
